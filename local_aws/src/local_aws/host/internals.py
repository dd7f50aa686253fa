"""What this package uses of ministack's internals, in one table.

ministack is not a library: nothing that it names is promised to stay. `check` compares the table
with the installed version at every start. The modules of `host` use what the table lists and
nothing else, and get ministack's modules from `module`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

INTERNALS: Mapping[str, Mapping[str, str | None]] = {
    "ministack.app": {
        "app": "(scope, receive, send)",
        "_asgi_header_list": "(headers: dict) -> list",
        "_build_persistence_save_dict": "()",
        "_decode_aws_chunked_body": "(body: bytes, headers: dict) -> bytes",
        "_execute_api_authorization_type": (
            "(api_id: str, stage: str, method: str, execute_path: str) -> str | None"
        ),
        "_parse_execute_api_url": "(host: str, path: str) -> tuple[str, str, str] | None",
        "_read_request_body": "(receive, method: str, headers: dict) -> bytes",
        "_send_response": "(send, status, headers, body, *, head=False)",
        "_state_map": None,
        "load_state": "(service: str) -> dict | None",
        "save_all": "(services: dict) -> None",
    },
    "ministack.core.iam_actions": {
        "access_denied_response": (
            "(service: str, action: str, principal_arn: str, request_id: str, *, "
            "error_code: str = '', message: str = '', headers: dict | None = None, "
            "resource_arn: str = '*', explicit_deny: bool = False, "
            "resource_policy_arn: str = '') -> tuple"
        ),
        "extract_iam_action": (
            "(service: str, method: str, path: str, headers: dict, body: bytes, "
            "query_params: dict) -> str | None"
        ),
        "extract_resource_arn": (
            "(service: str, method: str, path: str, headers: dict, body: bytes, "
            "query_params: dict, region: str, account_id: str) -> str"
        ),
        "s3_additional_checks": (
            "(method: str, path: str, headers: dict, body: bytes, query_params: dict) "
            "-> list[tuple[str, str]]"
        ),
        "s3_service_context": (
            "(iam_action: str, query_params: dict | None, path: str = '', "
            "headers: dict | None = None) -> dict"
        ),
    },
    "ministack.core.iam_evaluator": {
        "AuthError": None,
        "EvalContext": None,
        "PrincipalInfo": None,
        "_resolve_condition_key": (
            "(key: str, ctx: ministack.core.iam_evaluator.EvalContext) -> Any"
        ),
        "_resource_policy": "(service: str, resource_arn: str) -> tuple | None",
        "combine_resource_policy": (
            "(identity: ministack.core.iam_evaluator.EvalResult, "
            "ctx: ministack.core.iam_evaluator.EvalContext, policy: str | dict | None, "
            "owner_account: str | None, required: bool = False, limits: tuple = ()) "
            "-> ministack.core.iam_evaluator.EvalResult"
        ),
        "evaluate": (
            "(ctx: ministack.core.iam_evaluator.EvalContext, "
            "policies: list[list[ministack.core.iam_evaluator.ParsedStatement]], "
            "*limits: list[list[ministack.core.iam_evaluator.ParsedStatement]]) "
            "-> ministack.core.iam_evaluator.EvalResult"
        ),
        "evaluate_resource_policy": (
            "(doc: str | dict | None, ctx: ministack.core.iam_evaluator.EvalContext, "
            "service: str | None = None, named_only: bool = False, direct_only: bool = False) "
            "-> ministack.core.iam_evaluator.EvalResult"
        ),
        "parse_policy_document": (
            "(doc: str | dict) -> list[ministack.core.iam_evaluator.ParsedStatement]"
        ),
        "resolve_principal": (
            "(access_key_id: str, account_id: str, "
            "credential: ministack.core.iam_evaluator.ResolvedCredential | None = None) "
            "-> ministack.core.iam_evaluator.PrincipalInfo "
            "| ministack.core.iam_evaluator.AuthError"
        ),
    },
    "ministack.core.lambda_runtime": {
        "execution_credentials": "(config: dict) -> dict[str, str]",
    },
    "ministack.core.persistence": {
        "_json_default": None,
        "_json_object_hook": "(obj)",
        "load_state": "(service: str) -> dict | None",
    },
    "ministack.core.router": {
        "detect_service": "(method: str, path: str, headers: dict, query_params: dict) -> str",
        "extract_access_key_id": "(headers: dict, query_params=None) -> str",
    },
    "ministack.core.responses": {
        "AccountRegionScopedDict": None,
        "AccountScopedDict": None,
        "error_response_json": (
            "(code: str, message: str, status: int = 400, extra: dict | None = None, *, "
            "message_key: str = 'message', "
            "content_type: str = 'application/x-amz-json-1.0') -> tuple"
        ),
        "json_response": (
            "(data: dict, status: int = 200, *, "
            "content_type: str = 'application/x-amz-json-1.0') -> tuple"
        ),
        "get_account_id": "() -> str",
        "get_region": "() -> str",
        "set_request_account_id": "(access_key_id: str) -> None",
        "set_request_region": "(region: str | None) -> None",
    },
    "ministack.services.apigateway_v1": {
        "_AUTHENTICATION_GATEWAY_ERRORS": None,
        "_check_request_validation": "(method_obj, api_id, request, headers, body, query_params)",
        "_request_validators": None,
        "_resources": None,
        "authentication_error_response": "(api_id, stage_name, error, headers, query_params)",
    },
    "ministack.services.athena": {
        "_data_format": "(table_data)",
        "_duckdb_type": "(column)",
        "_empty_relation": "(table_data)",
        "_executions": None,
        "_materialize_table_files": "(location, workdirs)",
        "_run_duckdb": "(query, database, catalog=None)",
        "_save_query_results": "(query_id)",
        "_start_query_execution": "(data)",
        "_table_relation": "(table_data, files)",
        "_workgroups": None,
    },
    "ministack.services.cloudformation": {"_stacks": None},
    "ministack.services.cloudformation.provisioners": {
        "_CUSTOM_NAME_REPLACEMENT": None,
        "_REPLACING_PROPERTIES": None,
        "_RESOURCE_HANDLERS": None,
        "_STACK_TAG_PROPERTY": None,
        "_cw_metric_alarm_record": "(name, props)",
        "_sfn_definition": "(props)",
    },
    "ministack.services.cloudformation.stacks": {
        "_add_event": (
            "(stack_id, stack_name, logical_id, resource_type, status, reason='', "
            "physical_id='', detailed_status='')"
        ),
        "_runs_on_worker_thread": "(resource_type: str) -> bool",
    },
    "ministack.services.cloudwatch": {
        "TWO_WEEKS_SECONDS": None,
        "_alarms": None,
        "_calc_stats": "(points)",
        "_cbor_metric_data_result": "(result)",
        "_cbor_ok": "(data: dict)",
        "_dims_from_list": "(dimensions: list[dict]) -> dict",
        "_dims_key": "(dims: dict) -> str",
        "_dispatch_alarm_actions": "(alarm, old_state, new_state, reason)",
        "_error": "(code, message, status, use_json=False, use_cbor=False)",
        "_evaluate_alarm": "(alarm)",
        "_evaluate_parent_alarms": "(child, seen=frozenset())",
        "_evict_old_metrics": "()",
        "_get_metric_data": "(params, cbor_data, is_cbor, is_json=False)",
        "_json_ok": "(data: dict)",
        "_metric_bucket": "(key: tuple) -> list",
        "_metrics": None,
        "_p": "(params, key, default='')",
        "_parse_ts": "(value)",
        "_put_metric_alarm": "(params, cbor_data, is_cbor, is_json=False)",
        "_record_history": (
            "(alarm_name, old_state, new_state, reason, alarm_type='MetricAlarm', reason_data=None)"
        ),
        "_set_alarm_state": "(params, cbor_data, is_cbor, is_json=False)",
        "_stat_value": "(stats, stat_name, points=None)",
        "record_metric": (
            "(namespace: str, metric_name: str, value: float, unit: str = 'None', "
            "dimensions: dict | None = None) -> None"
        ),
        "get_state": "()",
    },
    "ministack.services.cloudwatch_logs": {
        "_append_log_events": "(stream, events)",
        "_describe_log_groups": "(data)",
        "_describe_log_streams": "(data)",
        "_build_log_record": "(*, ptr, timestamp_ms, message, log_group, log_stream)",
        "_get_log_record": "(data)",
        "_log_groups": None,
        "_log_records": None,
        "_public_log_record": "(record: dict) -> dict",
        "get_state": "()",
        "json_response": (
            "(data: dict, status: int = 200, *, "
            "content_type: str = 'application/x-amz-json-1.0') -> tuple"
        ),
    },
    "ministack.services.dynamodb": {
        "_INDEX_MEMBERS": None,
        "_create_replica": "(name, table, region)",
        "_extract_key_val": "(attr)",
        "_items_replaced": "(table)",
        "_remove_item": "(table, pk_val, sk_val)",
        "_scan": "(data)",
        "_set_item": "(table, pk_val, sk_val, item)",
        "_tables": None,
        "get_state": "()",
    },
    "ministack.services.ecr": {
        "_batch_check_layer_availability": "(data)",
        "_batch_delete_image": "(data)",
        "_complete_layer_upload": "(data)",
        "_describe_images": "(data)",
        "_find_image": None,
        "_get_download_url_for_layer": "(data)",
        "_initiate_layer_upload": "(data)",
        "_layer_blobs": None,
        "_put_image": "(data)",
        "_repositories": None,
        "_upload_layer_part": "(data)",
        "_uploads": None,
    },
    "ministack.services.eventbridge": {
        "_dispatch_to_lambda": "(arn, payload)",
        "_cron_next_fire": "(fields, after_dt: datetime.datetime) -> datetime.datetime | None",
        "_invoke_target": "(target, event, rule, view=None)",
        "_parse_cron_fields": "(expr: str)",
        "_pattern_event_view": "(event)",
        "_put_events": "(data, allow_aws_source=False)",
    },
    "ministack.services.glue": {"_partitions": None},
    "ministack.services.iam": {
        "_roles": None,
        "policy_known": "(arn: str, account_id: str | None = None) -> bool",
    },
    "ministack.services.lambda_svc": {
        "CODE_BLOB_DIR": None,
        "_BLOB_REF_KEY": None,
        "_execute_function_warm": "(func: dict, event: dict, request_id: str) -> dict",
        "_execution_record_for_config": None,
        "_get_func_record_for_ref": None,
        "_layers": None,
        "_prune_orphan_code_blobs": "(referenced: set[str]) -> None",
        "_read_code_blob": "(sha: str) -> bytes | None",
        "_route_async_failure": (
            "(target_arn: str, func_name: str, event: dict, result: dict) -> None"
        ),
        "_write_code_blob": "(code_zip: bytes) -> str",
        "execution_credentials": "(config: dict) -> dict[str, str]",
        "get_state": "()",
        "invoke_async_with_retry": "(func: dict, event: dict) -> None",
        "load_persisted_state": "(data) -> None",
    },
    "ministack.services.s3": {
        "S3_PERSIST": None,
        "_ENCODED_KEYS_DIR": None,
        "_atomic_write": "(fpath: str, data: bytes, *, text: bool = False)",
        "_buckets": None,
        "_collect_list_entries": (
            "(bucket_objects: dict, prefix: str, delimiter: str, max_keys: int, start_after: str)"
        ),
        "_complete_multipart_upload": (
            "(bucket_name: str, key: str, body: bytes, query_params: dict, "
            "headers: dict | None = None)"
        ),
        "_ensure_bucket": "(name: str)",
        "_get_object_data": (
            "(bucket_name: str, key: str, version_id: str | None = None) -> bytes | None"
        ),
        "_key_disk_path": "(base: str, key: str) -> str | None",
        "_list_object_versions": "(bucket_name: str, query_params: dict)",
        "_load_persisted_bucket": "(account_id, bucket_name, bucket_path)",
        "_object_acl": None,
        "_object_annotations": None,
        "_object_disk_path": "(bucket: str, key: str, account_id: str = None) -> str | None",
        "_object_tags": None,
        "_object_versions": None,
        "_persist_object": "(bucket: str, key: str, obj)",
        "_read_body": "(bucket_name: str, key: str, obj: dict) -> bytes",
        "_put_object": "(bucket_name: str, key: str, body: bytes, headers: dict)",
        "now_iso": "() -> str",
    },
    "ministack.services.scheduler": {
        "_SCHEDULE_TICK_INTERVAL": None,
        "_create_schedule": "(name, body)",
        "_error": "(status, code, message)",
        "_schedules": None,
        "_tick_schedules": "()",
        "_update_schedule": "(name, body)",
    },
    "ministack.services.sns": {"_topics": None},
    "ministack.services.sqs": {
        "_act_send_message": "(data: dict, qurl: str) -> dict",
        "_queue_by_arn": "(arn: str) -> dict | None",
        "_queues": None,
        "_queues_lock": None,
        "_refresh_counts": "(q: dict) -> None",
    },
    "ministack.services.sts": {
        "_sessions": None,
        "register_session": "(access_key: str, session: dict) -> None",
    },
    "ministack.services.stepfunctions": {
        "_ExecutionError": None,
        "_add_event": "(execution, event_type, details=None)",
        "_apply_input_path": "(state_def, data, ctx=None)",
        "_apply_jsonata_arguments": "(state_def, raw_input, ctx=None)",
        "_apply_jsonata_output": (
            "(state_def, raw_input, ctx=None, result=None, error_output=None, default=None)"
        ),
        "_apply_output_path": "(state_def, data, ctx=None)",
        "_apply_state_assign": "(state_def, raw_input, ctx, result=None, error_output=None)",
        "_describe_execution": "(data)",
        "_emit_execution_status_event": "(execution) -> None",
        "_error_matches": "(error_equals, error)",
        "_evaluate_jsonata": "(expression, raw_input, ctx=None, result=None, error_output=None)",
        "get_state": "()",
        "_evaluate_jsonata_choice_rule": "(rule, raw_input, ctx)",
        "_execute_choice": "(state_def, raw_input, ctx=None)",
        "_execute_map": "(state_def, raw_input, execution, ctx)",
        "_execute_parallel": "(state_def, raw_input, execution, ctx)",
        "_execute_pass": "(state_def, raw_input, ctx=None)",
        "_execute_task": "(state_def, raw_input, execution, ctx)",
        "_execute_wait": "(state_def, raw_input, ctx=None)",
        "_executions": None,
        "_fail_execution": "(execution, error, cause)",
        "_fail_state_error": "(state_def, raw_input, ctx=None)",
        "_find_matching_retrier": "(retriers, error, retry_counts)",
        "_invoke_resource": "(resource, input_data)",
        "_invoke_resource_with_timeout": "(resource, input_data, timeout)",
        "_iso_to_epoch_ms": "(iso)",
        "_restore_state": "(data)",
        "_validate_definition_jsonata": "(definition_str) -> str | None",
        "_jsonata_state_field": "(state_def, field, expected, raw_input, ctx)",
        "_resolve_state_machine_arn": "(arn)",
        "_run_execution": "(exec_arn)",
        "_run_map_items": "(state_def, raw_input, execution, ctx)",
        "_run_parallel_branches": "(state_def, raw_input, execution, ctx)",
        "_run_sub_machine": "(states, start_at, input_data, execution, ctx)",
        "_scaled_sleep": "(seconds)",
        "_start_execution": "(data)",
        "_state_machines": None,
        "_state_query_language": "(state_def, ctx=None)",
        "_stop_execution": "(data)",
        "now_iso": "() -> str",
    },
}
"""Each name of ministack that is used, by module, with its signature where it has one."""


class IncompatibleMinistackError(RuntimeError):
    """The installed ministack lacks something that is used here."""


def check(internals: Mapping[str, Mapping[str, str | None]] = INTERNALS) -> None:
    """Check that ministack has what is used here.

    Args:
        internals: Names by module, with their signatures.

    Raises:
        IncompatibleMinistackError: Names all that is missing or has changed.
    """
    problems = []
    for module_name, names in internals.items():
        try:
            imported = importlib.import_module(module_name)
        except ImportError as error:
            problems.append(f"{module_name}: {error}")
            continue
        for name, expected in names.items():
            found = getattr(imported, name, None)
            if found is None:
                problems.append(f"{module_name}.{name} is not there")
            elif expected is not None and str(inspect.signature(found)) != expected:
                problems.append(f"{module_name}.{name}{inspect.signature(found)}, not {expected}")
    if problems:
        raise IncompatibleMinistackError(
            "The installed ministack is not the one that local-aws was written for: "
            + "; ".join(problems)
        )


def module(name: str) -> Any:  # noqa: ANN401 - ministack has no types
    """Return a module of ministack, imported when it is first asked for.

    ministack reads its settings from the environment when it is imported, so they are set before.
    """
    return importlib.import_module(f"ministack.{name}")
