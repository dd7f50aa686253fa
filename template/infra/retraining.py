"""What starts the training without anybody asking for it."""

from constructs import Construct

from infra.functions import Function
from infra.permissions import Allow, Arns
from infra.triggers import TRIGGERS
from usecase.config import UseCase
from workflows import names


class Retraining(Construct):
    """The function that starts the training, and the triggers that call it."""

    def __init__(self, scope: Construct, use_case: UseCase) -> None:
        super().__init__(scope, "Retraining")
        retrain = Function(
            self,
            "retrain.handler",
            {"PIPELINE": names.TRAINING},
            [
                Allow(
                    ["sagemaker:ListPipelineExecutions", "sagemaker:StartPipelineExecution"],
                    [Arns(self).pipeline(names.TRAINING)],
                )
            ],
        )
        for trigger in TRIGGERS:
            trigger.add(retrain, use_case)
