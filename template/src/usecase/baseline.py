"""`baseline`: describe the training data, as the baseline of the data's quality."""

from usecase import container, schema, tables
from usecase.config import UseCase
from usecase.monitors import constraints, noise, profile


def run(use_case: UseCase) -> None:
    """Write statistics and suggested constraints of the training data's features, and the schema.

    Raises:
        UseCaseError: When there is no training data.
    """
    train = tables.read(container.processing_input("train"))
    features, settings = train.select(use_case.features.names), use_case.monitors.data_quality
    statistics = profile.statistics(features)
    robust = settings.comparison_method == "Robust"
    differences = noise.measure(features, train[use_case.data.time], robust=robust)
    suggested = constraints.suggest(statistics, settings, differences)
    output = container.processing_output("baseline")
    container.write_json(output / "constraints.json", suggested)
    container.write_json(output / "statistics.json", statistics)
    schema.write(schema.Schema.of(use_case, train), output)
    print(f"baseline of {features.height} rows, {features.width} features")
