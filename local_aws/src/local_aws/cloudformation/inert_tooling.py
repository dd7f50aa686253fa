"""Inert resource types of what builds, delivers, records and watches; see `inert_types`."""

from __future__ import annotations

from local_aws.cloudformation.inert_rows import row

_SAGEMAKER = "arn:aws:sagemaker:{region}:{account}"
_CODEARTIFACT = "arn:aws:codeartifact:{region}:{account}"
_EVENTS = "arn:aws:events:{region}:{account}"

ROWS = (
    # Continuous integration and delivery
    row(
        "CodePipeline::Pipeline",
        "RoleArn+ Stages+ Name= ArtifactStore ArtifactStores DisableInboundStageTransitions "
        "ExecutionMode PipelineType RestartExecutionOnUpdate Tags Triggers Variables",
        "{Name}",
        Arn="arn:aws:codepipeline:{region}:{account}:{Name}",
        Version="1",
    ),
    row(
        "CodeConnections::Connection",
        "ConnectionName+= HostArn= ProviderType= Tags",
        "arn:aws:codeconnections:{region}:{account}:connection/{id}",
        ConnectionArn="{ref}",
        ConnectionStatus="PENDING",  # until somebody has completed the handshake in the console
        OwnerAccountId="{account}",
    ),
    row(
        "CodeStarConnections::Connection",
        "ConnectionName+= HostArn= ProviderType= Tags",
        "arn:aws:codestar-connections:{region}:{account}:connection/{id}",
        ConnectionArn="{ref}",
        ConnectionStatus="PENDING",
        OwnerAccountId="{account}",
    ),
    row(
        "CodeArtifact::Domain",
        "DomainName+= EncryptionKey= PermissionsPolicyDocument Tags",
        f"{_CODEARTIFACT}:domain/{{DomainName}}",
        Arn="{ref}",
        EncryptionKey="{EncryptionKey}",
        Name="{DomainName}",
        Owner="{account}",
    ),
    row(
        "CodeArtifact::Repository",
        "DomainName+= RepositoryName+= DomainOwner= Description ExternalConnections "
        "PermissionsPolicyDocument Tags Upstreams",
        f"{_CODEARTIFACT}:repository/{{DomainName}}/{{RepositoryName}}",
        Arn="{ref}",
        DomainOwner="{DomainOwner}",
        Name="{RepositoryName}",
    ),
    row(
        "CodeArtifact::PackageGroup",
        "DomainName+= Pattern+= ContactInfo Description DomainOwner OriginConfiguration Tags",
        f"{_CODEARTIFACT}:package-group/{{DomainName}}{{Pattern}}",
        Arn="{ref}",
    ),
    # SageMaker: what is told of models and their features
    row(
        "SageMaker::FeatureGroup",
        "EventTimeFeatureName+= FeatureGroupName+= RecordIdentifierFeatureName+= "
        "FeatureDefinitions+ Description= OfflineStoreConfig= RoleArn= Tags= OnlineStoreConfig "
        "ThroughputConfig",
        "{FeatureGroupName}",
        CreationTime="{now}",
        FeatureGroupStatus="Created",
    ),
    row(
        "SageMaker::ModelCard",
        "ModelCardName+= Content+ ModelCardStatus+ SecurityConfig= CreatedBy LastModifiedBy Tags",
        "{ModelCardName}",
        CreationTime="{now}",
        LastModifiedTime="{now}",
        ModelCardArn=f"{_SAGEMAKER}:model-card/{{ModelCardName}}",
        ModelCardProcessingStatus="",  # all that there are tell of a deletion
        ModelCardVersion="1",
    ),
    row(
        "SageMaker::Project",
        "ProjectName+= ProjectDescription= ServiceCatalogProvisioningDetails= Tags= "
        "TemplateProviderDetails= ServiceCatalogProvisionedProductDetails",
        f"{_SAGEMAKER}:project/{{ProjectName}}",
        CreationTime="{now}",
        ProjectArn="{ref}",
        ProjectId="p-{id}",
        ProjectStatus="CreateCompleted",
    ),
    # Queries, records of calls, notifications
    row(
        "Athena::NamedQuery",
        "Database+= QueryString+= Description= Name= WorkGroup=",
        "{id}",
        NamedQueryId="{id}",
    ),
    row(
        "Logs::QueryDefinition",
        "Name+ QueryString+ LogGroupNames Parameters QueryLanguage",
        "{id}",
        QueryDefinitionId="{id}",
    ),
    row(
        "CloudTrail::Trail",
        "IsLogging+ S3BucketName+ TrailName= AdvancedEventSelectors AggregationConfigurations "
        "CloudWatchLogsLogGroupArn CloudWatchLogsRoleArn EnableLogFileValidation EventSelectors "
        "IncludeGlobalServiceEvents InsightSelectors IsMultiRegionTrail IsOrganizationTrail "
        "KMSKeyId S3KeyPrefix SnsTopicName Tags",
        "{TrailName}",
        Arn="arn:aws:cloudtrail:{region}:{account}:trail/{TrailName}",
        SnsTopicArn="arn:aws:sns:{region}:{account}:{SnsTopicName}",
    ),
    row(
        "Chatbot::SlackChannelConfiguration",
        "ConfigurationName+= SlackWorkspaceId+= IamRoleArn+ SlackChannelId+ "
        "CustomizationResourceArns GuardrailPolicies LoggingLevel SnsTopicArns Tags "
        "UserRoleRequired",
        "arn:aws:chatbot::{account}:chat-configuration/slack-channel/{ConfigurationName}",
        Arn="{ref}",
    ),
    # EventBridge and Systems Manager
    row(
        "Events::Connection",
        "Name= AuthParameters AuthorizationType Description InvocationConnectivityParameters "
        "KmsKeyIdentifier",
        "{Name}",
        Arn=f"{_EVENTS}:connection/{{Name}}/{{id}}",
        ArnForPolicy=f"{_EVENTS}:connection/{{Name}}",
        SecretArn="arn:aws:secretsmanager:{region}:{account}:secret:events!connection/{Name}/{id}",
    ),
    row(
        "Events::ApiDestination",
        "ConnectionArn+ HttpMethod+ InvocationEndpoint+ Name= Description "
        "InvocationRateLimitPerSecond",
        "{Name}",
        Arn=f"{_EVENTS}:api-destination/{{Name}}/{{id}}",
        ArnForPolicy=f"{_EVENTS}:api-destination/{{Name}}",
    ),
    row(
        "Events::Archive",
        "SourceArn+= ArchiveName= Description EventPattern KmsKeyIdentifier RetentionDays",
        "{ArchiveName}",
        Arn=f"{_EVENTS}:archive/{{ArchiveName}}",
    ),
    row(
        "SSM::Document",
        "Content+ DocumentType= Name= Attachments DocumentFormat Requires Tags TargetType "
        "UpdateMethod VersionName",
        "{Name}",
    ),
)
"""The rows."""
