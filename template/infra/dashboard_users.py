"""Who may sign in to the dashboard: a user pool of Cognito, to which only an owner adds people."""

import re

from aws_cdk import Acknowledgment, CfnOutput, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from infra.permissions import names_of
from workflows.dashboard import APPROVER, VIEWER, Hosting

SESSION = Duration.hours(12)
"""After so long people sign in again."""
RESERVED = re.compile("aws|amazon|cognito")
"""Words that Cognito has in no domain of a user pool."""


class Users(Construct):
    """The user pool, its groups, and the load balancer as its only client.

    Attributes:
        pool: The user pool.
        client: The load balancer's app client.
        domain: The domain of the page that people sign in on.
    """

    def __init__(self, scope: Construct, hosting: Hosting) -> None:
        super().__init__(scope, "Users")
        names, stack = names_of(self), Stack.of(self)
        self.pool = cognito.UserPool(
            self,
            "Pool",
            user_pool_name=names.dashboard,
            self_sign_up_enabled=False,
            sign_in_aliases=cognito.SignInAliases(email=True),
            sign_in_case_sensitive=False,
            standard_attributes=cognito.StandardAttributes(
                email=cognito.StandardAttribute(required=True, mutable=True)
            ),
            keep_original=cognito.KeepOriginalAttrs(email=True),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            mfa=cognito.Mfa.REQUIRED if hosting.mfa == "required" else cognito.Mfa.OPTIONAL,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            password_policy=cognito.PasswordPolicy(
                min_length=12,
                require_digits=True,
                require_lowercase=True,
                require_symbols=True,
                require_uppercase=True,
                temp_password_validity=Duration.days(3),
            ),
            user_invitation=cognito.UserInvitationConfig(
                email_subject=f"Your sign-in to the dashboard of {names.prefix}",
                email_body=(
                    f"Sign in at {hosting.url} as {{username}} with the password {{####}}; you "
                    "choose your own one there. It is good for three days."
                ),
            ),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledged = {
            "COG8": "The tier Plus, which looks for stolen passwords, costs by the user; an owner "
            "may choose it",
        }
        if hosting.mfa == "optional":
            acknowledged["COG2"] = "mfa in dashboard/hosting.toml says whether it is required"
        for rule, reason in acknowledged.items():
            Validations.of(self.pool).acknowledge(
                Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason)
            )
        for group, what in {VIEWER: "see everything", APPROVER: "see and approve"}.items():
            cognito.CfnUserPoolGroup(
                self,
                group.title(),
                user_pool_id=self.pool.user_pool_id,
                group_name=group,
                description=f"People who may {what}",
            )
        self.domain = self.pool.add_domain(
            "Domain",
            cognito_domain=cognito.CognitoDomainOptions(
                # All pools of a region share one room for these names.
                domain_prefix=f"{RESERVED.sub('x', names.prefix)}-{stack.account}"
            ),
        )
        self.client = self.pool.add_client(
            "LoadBalancer",
            generate_secret=True,
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL],
                callback_urls=[f"{hosting.url}/oauth2/idpresponse"],
            ),
            supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
            prevent_user_existence_errors=True,
            # The groups are those of the access token: so long does a change of them take at most.
            access_token_validity=Duration.hours(1),
            id_token_validity=Duration.hours(1),
            refresh_token_validity=SESSION,
        )
        CfnOutput(stack, "UserPoolId", value=self.pool.user_pool_id)
