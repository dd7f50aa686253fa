"""`baseline`: describe the training data, as the monitors compare with it."""

from importlib import import_module

from usecase import container, schema, tables
from usecase.config import UseCase
from usecase.monitors import BASELINES


def run(use_case: UseCase) -> None:
    """Write the baseline of each monitor that has one of its own, and the schema beside it.

    Raises:
        UseCaseError: When there is no training data.
    """
    train = tables.read(container.processing_input("train"))
    known = schema.Schema.of(use_case, train)
    for monitor, output in BASELINES.items():
        folder = container.processing_output(output)
        import_module(f"usecase.monitors.{monitor}").describe(train, use_case, folder)
        schema.write(known, folder)
    print(f"baselines of {train.height} rows, {len(use_case.features.names)} features")
