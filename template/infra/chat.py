"""The channel of a chat, which is told what the mails tell."""

from aws_cdk import (
    Acknowledgment,
    Validations,
)
from aws_cdk import (
    aws_lambda as lambda_,
)
from aws_cdk import (
    aws_secretsmanager as secretsmanager,
)
from aws_cdk import (
    aws_sns as sns,
)
from constructs import Construct

from infra.functions import Function
from infra.permissions import Allow, Arns


class Chat(Construct):
    """The secret with the address of the webhook, and the function that sends messages to it."""

    def __init__(self, scope: Construct, topic: sns.ITopic) -> None:
        """Listen to a topic.

        Args:
            scope: Where it belongs.
            topic: That of the notifications.
        """
        super().__init__(scope, "Chat")
        # Without a value: a template would show it. `ops chat` sets it.
        secret = secretsmanager.CfnSecret(
            self,
            "Webhook",
            name=Arns(self).names.chat_webhook,
            description="The address of the webhook that messages go to",
        )
        reason = "The chat gives the address, and only people can have it give another one"
        rule = Acknowledgment(id="AwsSolutions-SMG4", reason=reason)
        Validations.of(secret).acknowledge(rule)
        function = Function(
            self,
            "chat.handler",
            {"WEBHOOK": secret.ref},
            [Allow(["secretsmanager:GetSecretValue"], [secret.ref])],
        )
        lambda_.CfnPermission(
            self,
            "Permission",
            action="lambda:InvokeFunction",
            function_name=function.arn,
            principal="sns.amazonaws.com",
            source_arn=topic.topic_arn,
        )
        sns.CfnSubscription(
            self,
            "Subscription",
            topic_arn=topic.topic_arn,
            protocol="lambda",
            endpoint=function.arn,
        )
