"""`local-aws-docker`: stands for the docker command where there is no container engine.

The AWS CDK publishes container images with `docker inspect`, `build`, `login`, `tag`, `images` and
`push`; given this as CDK_DOCKER it publishes to the local AWS. What each does is what aws-cdk
2.1148.1 calls (`lib/private/docker.ts` in its cdk-assets); any other option is refused by name.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType

from local_aws.images.build import BuildError, build
from local_aws.images.dockerfile import DockerfileError
from local_aws.images.images import DOCKER_MANIFEST, OCI_MANIFEST, Image, Images, UnknownImage
from local_aws.images.recipe import read

_FORMAT = "{{.Repository}}:{{.Tag}}"


class UsageError(Exception):
    """The command cannot be carried out as it was given."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 1 for what is not there or fails, 2 for wrong use (the CDK takes 1 of `inspect`
        for an image that is still to be built), 128 + N when signal N ended it.
    """
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status: int = arguments.action(arguments)
    except (DockerfileError, BuildError, UnknownImage) as error:
        return _fail(str(error), 1)
    except UsageError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local-aws-docker",
        description="Stands for docker where the AWS CDK publishes images to the local AWS.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="accepted as docker's; there are no credentials to find")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add = commands.add_parser("build", help="build an image", allow_abbrev=False)
    add.add_argument("-t", "--tag", required=True, metavar="NAME[:TAG]")
    add.add_argument("-f", "--file", help="the Dockerfile, by default the one in CONTEXT")
    add.add_argument("--platform", help="accepted; the image is for this machine")
    add.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    add.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="type=docker[,oci-mediatypes=false]",
        help="what the manifest is like; without it, or without oci-mediatypes=false, OCI's",
    )
    add.add_argument("--no-cache", action="store_true", help="do every step again")
    add.add_argument("context", metavar="CONTEXT", type=Path)
    add.set_defaults(action=_build)

    add = commands.add_parser("images", help="list the names of images", allow_abbrev=False)
    add.add_argument("--format", default=_FORMAT, choices=[_FORMAT])
    add.add_argument("--filter", default="reference=*", metavar="reference=PATTERN")
    add.set_defaults(action=_images)

    add = commands.add_parser("inspect", help="show an image, or exit with 1", allow_abbrev=False)
    add.add_argument("name")
    add.set_defaults(action=_inspect)

    add = commands.add_parser("login", help="do nothing: the local AWS has no passwords")
    add.add_argument("-u", "--username")
    add.add_argument("--password-stdin", action="store_true")
    add.add_argument("registry", nargs="?")
    add.set_defaults(action=_login)

    add = commands.add_parser("push", help="make an image known to the local AWS")
    add.add_argument("name")
    add.set_defaults(action=_push)

    add = commands.add_parser("tag", help="give an image another name", allow_abbrev=False)
    add.add_argument("name")
    add.add_argument("new_name")
    add.set_defaults(action=_tag)
    return parser


def _build(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    values = {}
    for pair in arguments.build_arg:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--build-arg {pair}: needs NAME=VALUE")
        values[name] = value
    media_type = _media_type(arguments.output)
    context: Path = arguments.context
    data_dir = _data_dir(os.environ)
    # As the AWS CDK and docker do: the Dockerfile's name is relative to where the command runs.
    dockerfile = Path(arguments.file) if arguments.file else context / "Dockerfile"
    recipe = read(context, dockerfile, values, outside=data_dir)
    image = replace(build(recipe, data_dir, fresh=arguments.no_cache), media_type=media_type)
    _local(data_dir).register(arguments.tag, image)
    print(f"{arguments.tag}: built in {time.monotonic() - started:.1f} s")
    return 0


def _media_type(outputs: Sequence[str]) -> str:
    """Return the media type of the manifest that BuildKit would make.

    The exporters `docker` and `image` and their parameter `oci-mediatypes` are those of
    https://docs.docker.com/build/exporters/. Since version 0.31 BuildKit takes OCI's media types
    unless it is told otherwise (https://github.com/moby/buildkit/pull/6844).

    Raises:
        UsageError: An exporter or a parameter of it is not played here.
    """
    if len(outputs) > 1:
        raise UsageError(f"--output {outputs[1]}: only one output is supported")
    oci = True
    for pair in outputs[0].split(",") if outputs else []:
        match pair.partition("="):
            case ("type", "=", "docker" | "image"):
                pass
            case ("oci-mediatypes", "=", "true" | "false" as value):
                oci = value == "true"
            case _:
                raise UsageError(
                    f"--output {outputs[0]}: {pair or 'an empty parameter'} is not supported; "
                    "use type=docker and oci-mediatypes=true or false"
                )
    if outputs and "type=" not in outputs[0]:
        raise UsageError(f"--output {outputs[0]}: needs type=docker")
    return OCI_MANIFEST if oci else DOCKER_MANIFEST


def _images(arguments: argparse.Namespace) -> int:
    key, _, pattern = arguments.filter.partition("=")
    if key != "reference":
        raise UsageError(f"--filter {arguments.filter}: only reference=PATTERN is supported")
    for uri in _local(_data_dir(os.environ)).uris():
        # As in docker, a star stands for no more than what is between slashes.
        if uri.count("/") == pattern.count("/") and fnmatchcase(uri, pattern):
            print(uri)
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    image = _built(arguments.name)
    print(json.dumps([_configuration(image)], indent=2))
    return 0


def _login(arguments: argparse.Namespace) -> int:
    if arguments.password_stdin:
        sys.stdin.read()  # whoever writes it would else meet a closed pipe
    print("Login Succeeded")
    return 0


def _tag(arguments: argparse.Namespace) -> int:
    _local(_data_dir(os.environ)).register(arguments.new_name, _built(arguments.name))
    return 0


def _push(arguments: argparse.Namespace) -> int:
    image = _built(arguments.name)
    # Before ECR, for once ECR has the image the CDK does not push it again.
    Images(_data_dir(os.environ)).register(arguments.name, image)
    from local_aws.images import ecr  # noqa: PLC0415 - a build is not to wait for botocore

    try:
        ecr.put_image(arguments.name, _configuration(image), image.media_type, os.environ)
    except ecr.PushError as error:
        return _fail(str(error), 1)
    print(f"{arguments.name}: pushed")
    return 0


def _built(name: str) -> Image:
    """Return an image that has been built or tagged.

    Raises:
        UnknownImage: It has not, or its folder has been removed.
    """
    image = _local(_data_dir(os.environ)).resolve(name)
    if not image.root.is_dir():
        raise UnknownImage(name)
    return image


def _configuration(image: Image) -> dict[str, object]:
    return asdict(image) | {"root": str(image.root)}


def _local(data_dir: Path) -> Images:
    """Return the table of what has been built here, pushed or not."""
    return Images(data_dir / "images")


def _data_dir(env: Mapping[str, str]) -> Path:
    folder = Path(env.get("LOCAL_AWS_DATA_DIR", ""))
    if not folder.is_absolute():
        raise UsageError(
            "LOCAL_AWS_DATA_DIR must be the absolute path of the local AWS's data folder; "
            "`local-aws status` shows it"
        )
    return folder


def _fail(problem: str, status: int) -> int:
    print(f"local-aws-docker: {problem}", file=sys.stderr)
    return status


def _terminate(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that a build takes away what is half done


if __name__ == "__main__":
    sys.exit(main())
