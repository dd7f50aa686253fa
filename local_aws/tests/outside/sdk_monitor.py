"""A data-quality monitor as one writes it with SageMaker's SDK; run by test_sdk_monitors.py.

Arguments: the SDK's module of monitors, bucket, endpoint. Prints what is found as JSON, in its last
line.
"""

import importlib
import json
import sys
import time

module, bucket, endpoint = sys.argv[1:]
monitors = importlib.import_module(module)
formats = importlib.import_module(f"{module}.dataset_format")

monitor = monitors.DefaultModelMonitor(
    role="arn:aws:iam::000000000000:role/sdk", instance_count=1, instance_type="ml.m5.large"
)
monitor.suggest_baseline(
    baseline_dataset=f"s3://{bucket}/training/data.csv",
    dataset_format=formats.DatasetFormat.csv(header=True),
    output_s3_uri=f"s3://{bucket}/baseline",
    wait=True,
    logs=False,
)
monitor.create_monitoring_schedule(
    monitor_schedule_name="sdk-monitor",
    endpoint_input=endpoint,
    output_s3_uri=f"s3://{bucket}/reports",
    statistics=monitor.baseline_statistics(),
    constraints=monitor.suggested_constraints(),
    schedule_cron_expression=monitors.CronExpressionGenerator.now(),
    data_analysis_start_time="-PT1H",
    data_analysis_end_time="-PT0H",
    enable_cloudwatch_metrics=True,
)
while not (executions := monitor.list_executions()):
    time.sleep(0.2)
while executions[-1].describe()["ProcessingJobStatus"] == "InProgress":
    time.sleep(0.2)
found = {
    "message": executions[-1].describe().get("ExitMessage"),
    "reason": executions[-1].describe().get("FailureReason"),
    "violations": monitor.latest_monitoring_constraint_violations().body_dict["violations"],
    "features": [
        feature["name"] for feature in monitor.latest_monitoring_statistics().body_dict["features"]
    ],
}
monitor.update_monitoring_schedule(
    schedule_cron_expression=monitors.CronExpressionGenerator.daily()
)
monitor.stop_monitoring_schedule()
found["stopped"] = monitor.describe_schedule()["MonitoringScheduleStatus"]
monitor.start_monitoring_schedule()
found["started"] = monitor.describe_schedule()["MonitoringScheduleStatus"]
found["expression"] = monitor.describe_schedule()["MonitoringScheduleConfig"]["ScheduleConfig"]
monitor.delete_monitoring_schedule()
print("\n" + json.dumps(found))  # the SDK shows its progress without an end of line
