"""Resource types that a stack may have although nothing of them runs here: the table.

Source: the resource types' schemas in the CloudFormation registry (primaryIdentifier,
readOnlyProperties, required, createOnlyProperties).
"""

from __future__ import annotations

from collections.abc import Mapping

from local_aws.cloudformation import inert_tooling
from local_aws.cloudformation.inert_rows import InertType, row

_SAGEMAKER = "arn:aws:sagemaker:{region}:{account}"
_QUICKSIGHT = "arn:aws:quicksight:{region}:{account}"
_TIMES = {"CreatedTime": "{now}", "LastUpdatedTime": "{now}"}


_ROWS = (
    # SageMaker: Studio and what belongs to it
    row(
        "SageMaker::Domain",
        "AuthMode+= DomainName+= DefaultUserSettings+ KmsKeyId= AppNetworkAccessType "
        "AppSecurityGroupManagement DefaultSpaceSettings DomainSettings HomeEfsFileSystemCreation "
        "SubnetIds TagPropagation Tags VpcId",
        "d-{id}",
        DomainArn=f"{_SAGEMAKER}:domain/d-{{id}}",
        DomainId="d-{id}",
        HomeEfsFileSystemId="fs-{id}",
        SecurityGroupIdForDomainBoundary="sg-{id}",
        SingleSignOnApplicationArn="arn:aws:sso::{account}:application/{id}",
        SingleSignOnManagedApplicationInstanceId="ins-{id}",
        Url="https://d-{id}.studio.{region}.sagemaker.aws",
    ),
    row(
        "SageMaker::UserProfile",
        "DomainId+= UserProfileName+= SingleSignOnUserIdentifier= SingleSignOnUserValue= Tags "
        "UserSettings",
        "{UserProfileName}|{DomainId}",
        UserProfileArn=f"{_SAGEMAKER}:user-profile/{{DomainId}}/{{UserProfileName}}",
    ),
    row(
        "SageMaker::Space",
        "DomainId+= SpaceName+= OwnershipSettings= SpaceSharingSettings= SpaceDisplayName "
        "SpaceSettings Tags",
        "{DomainId}|{SpaceName}",
        SpaceArn=f"{_SAGEMAKER}:space/{{DomainId}}/{{SpaceName}}",
        Url="https://{DomainId}.studio.{region}.sagemaker.aws/spaces/{SpaceName}",
    ),
    row(
        "SageMaker::App",
        "AppName+= AppType+= DomainId+= UserProfileName+= ResourceSpec= RecoveryMode Tags",
        "{AppName}|{AppType}|{DomainId}|{UserProfileName}",
        AppArn=f"{_SAGEMAKER}:app/{{DomainId}}/{{UserProfileName}}/{{AppType}}/{{AppName}}",
        BuiltInLifecycleConfigArn="",
    ),
    row(
        "SageMaker::AppImageConfig",
        "AppImageConfigName+= CodeEditorAppImageConfig JupyterLabAppImageConfig "
        "KernelGatewayImageConfig Tags",
        "{AppImageConfigName}",
        AppImageConfigArn=f"{_SAGEMAKER}:app-image-config/{{AppImageConfigName}}",
    ),
    row(
        "SageMaker::Image",
        "ImageName+= ImageRoleArn+ ImageDescription ImageDisplayName Tags",
        f"{_SAGEMAKER}:image/{{ImageName}}",
        ImageArn="{ref}",
    ),
    row(
        "SageMaker::ImageVersion",
        "BaseImage+= ImageName+= Alias Aliases Horovod JobType MLFramework Processor "
        "ProgrammingLang ReleaseNotes VendorGuidance",
        f"{_SAGEMAKER}:image-version/{{ImageName}}/{{id}}",
        ContainerImage="{BaseImage}",
        ImageArn=f"{_SAGEMAKER}:image/{{ImageName}}",
        ImageVersionArn="{ref}",
        Version="1",
    ),
    row(
        "SageMaker::StudioLifecycleConfig",
        "StudioLifecycleConfigAppType+= StudioLifecycleConfigContent+= "
        "StudioLifecycleConfigName+= Tags=",
        "{StudioLifecycleConfigName}",
        StudioLifecycleConfigArn=f"{_SAGEMAKER}:studio-lifecycle-config/{{ref}}",
    ),
    row(
        "SageMaker::MlflowApp",
        "Name+= RoleArn+= ArtifactStoreUri+ ModelRegistrationMode Tags "
        "WeeklyMaintenanceWindowStart",
        f"{_SAGEMAKER}:mlflow-app/app-{{id}}",
        Arn="{ref}",
        CreationTime="{now}",
        LastModifiedTime="{now}",
        MlflowAppId="app-{id}",
        MlflowVersion="3.4",
        Status="Created",
    ),
    row(
        "SageMaker::MlflowTrackingServer",
        "TrackingServerName+= ArtifactStoreUri+ RoleArn+ AutomaticModelRegistration MlflowVersion "
        "Tags TrackingServerSize WeeklyMaintenanceWindowStart",
        "{TrackingServerName}",
        TrackingServerArn=f"{_SAGEMAKER}:mlflow-tracking-server/{{TrackingServerName}}",
    ),
    row(
        "SageMaker::CodeRepository",
        "GitConfig+ CodeRepositoryName= Tags",
        f"{_SAGEMAKER}:code-repository/{{CodeRepositoryName}}",
        CodeRepositoryArn="{ref}",
        CodeRepositoryName="{CodeRepositoryName}",
    ),
    row(
        "SageMaker::NotebookInstance",
        "InstanceType+ RoleArn+ DirectInternetAccess= KmsKeyId= NotebookInstanceName= "
        "PlatformIdentifier= SecurityGroupIds= SubnetId= AcceleratorTypes "
        "AdditionalCodeRepositories DefaultCodeRepository InstanceMetadataServiceConfiguration "
        "LifecycleConfigName RootAccess Tags VolumeSizeInGB",
        f"{_SAGEMAKER}:notebook-instance/{{NotebookInstanceName}}",
        NotebookInstanceArn="{ref}",
        NotebookInstanceName="{NotebookInstanceName}",
    ),
    row(
        "SageMaker::NotebookInstanceLifecycleConfig",
        "NotebookInstanceLifecycleConfigName= OnCreate OnStart Tags",
        f"{_SAGEMAKER}:notebook-instance-lifecycle-config/{{NotebookInstanceLifecycleConfigName}}",
        NotebookInstanceLifecycleConfigArn="{ref}",
        NotebookInstanceLifecycleConfigName="{NotebookInstanceLifecycleConfigName}",
    ),
    # QuickSight
    row(
        "QuickSight::DataSource",
        "Type+= Name+ AwsAccountId= DataSourceId= AlternateDataSourceParameters Credentials "
        "DataSourceParameters ErrorInfo FolderArns Permissions SslProperties Tags "
        "VpcConnectionProperties",
        "{AwsAccountId}|{DataSourceId}",
        Arn=f"{_QUICKSIGHT}:datasource/{{DataSourceId}}",
        Status="CREATION_SUCCESSFUL",
        **_TIMES,
    ),
    row(
        "QuickSight::DataSet",
        "AwsAccountId= DataSetId= ColumnGroups ColumnLevelPermissionRules DataPrepConfiguration "
        "DataSetRefreshProperties DataSetUsageConfiguration DatasetParameters FieldFolders "
        "FolderArns ImportMode IngestionWaitPolicy LogicalTableMap Name PerformanceConfiguration "
        "Permissions PhysicalTableMap RowLevelPermissionDataSet RowLevelPermissionTagConfiguration "
        "SemanticModelConfiguration Tags UseAs",
        "{AwsAccountId}|{DataSetId}",
        Arn=f"{_QUICKSIGHT}:dataset/{{DataSetId}}",
        ConsumedSpiceCapacityInBytes="0",
        OutputColumns="",
        **_TIMES,
    ),
    row(
        "QuickSight::Analysis",
        "AnalysisId+= AwsAccountId+= Name+ Definition Errors FolderArns Parameters Permissions "
        "Sheets SourceEntity Status Tags ThemeArn ValidationStrategy",
        "{AnalysisId}|{AwsAccountId}",
        Arn=f"{_QUICKSIGHT}:analysis/{{AnalysisId}}",
        DataSetArns="",
        **_TIMES,
    ),
    row(
        "QuickSight::Template",
        "AwsAccountId+= TemplateId+= Definition Name Permissions SourceEntity Tags "
        "ValidationStrategy VersionDescription",
        "{AwsAccountId}|{TemplateId}",
        Arn=f"{_QUICKSIGHT}:template/{{TemplateId}}",
        Version="1",
        **_TIMES,
    ),
    row(
        "QuickSight::Dashboard",
        "AwsAccountId+= DashboardId+= Name+ DashboardPublishOptions Definition FolderArns "
        "LinkEntities LinkSharingConfiguration Parameters Permissions SourceEntity Tags ThemeArn "
        "ValidationStrategy VersionDescription",
        "{AwsAccountId}|{DashboardId}",
        Arn=f"{_QUICKSIGHT}:dashboard/{{DashboardId}}",
        LastPublishedTime="{now}",
        Version="1",
        **_TIMES,
    ),
    row(
        "QuickSight::Theme",
        "AwsAccountId+= ThemeId+= BaseThemeId+ Configuration+ Name+ Permissions Tags "
        "VersionDescription",
        "{ThemeId}|{AwsAccountId}",
        Arn=f"{_QUICKSIGHT}:theme/{{ThemeId}}",
        Type="CUSTOM",
        Version="1",
        **_TIMES,
    ),
    row(
        "QuickSight::Folder",
        "AwsAccountId= FolderId= FolderType= ParentFolderArn= SharingModel= Name Permissions Tags",
        "{AwsAccountId}|{FolderId}",
        Arn=f"{_QUICKSIGHT}:folder/{{FolderId}}",
        **_TIMES,
    ),
    row(
        "QuickSight::Group",
        "GroupName+= Namespace+= Description",
        f"{_QUICKSIGHT}:group/{{Namespace}}/{{GroupName}}",
        Arn="{ref}",
        PrincipalId="group/{id}",
    ),
    row(
        "QuickSight::RefreshSchedule",
        "AwsAccountId= DataSetId= Schedule",
        "{AwsAccountId}|{DataSetId}|{Schedule[ScheduleId]}",
        Arn=f"{_QUICKSIGHT}:dataset/{{DataSetId}}/refresh-schedule/{{Schedule[ScheduleId]}}",
    ),
    row(
        "QuickSight::Topic",
        "AwsAccountId= FolderArns= Tags= TopicId= ConfigOptions CustomInstructions DataSets "
        "Description Name UserExperienceVersion",
        "{AwsAccountId}|{TopicId}",
        Arn=f"{_QUICKSIGHT}:topic/{{TopicId}}",
    ),
    row(
        "QuickSight::VPCConnection",
        "AwsAccountId= VPCConnectionId= AvailabilityStatus DnsResolvers Name RoleArn "
        "SecurityGroupIds SubnetIds Tags",
        "{AwsAccountId}|{VPCConnectionId}",
        Arn=f"{_QUICKSIGHT}:vpcConnection/{{VPCConnectionId}}",
        NetworkInterfaces="",
        Status="CREATION_SUCCESSFUL",
        VPCId="vpc-{id}",
        **_TIMES,
    ),
    # Airflow
    row(
        "MWAAServerless::Workflow",
        "DefinitionS3Location+ RoleArn+ EncryptionConfiguration= Name= Code Description "
        "LoggingConfiguration NetworkConfiguration Tags TriggerMode",
        "arn:aws:airflow-serverless:{region}:{account}:workflow/{Name}",
        CodeSnapshottedAt="{now}",
        CreatedAt="{now}",
        ModifiedAt="{now}",
        ScheduleConfiguration="",
        WorkflowArn="{ref}",
        WorkflowStatus="READY",
        WorkflowVersion="{id}",
    ),
    # Networks and containers
    row(
        "EC2::EIP",
        "Address= IpamPoolId= NetworkBorderGroup= TransferAddress= Domain InstanceId "
        "PublicIpv4Pool Tags",
        "192.0.2.{octet}|eipalloc-{id}",  # of the range that RFC 5737 keeps for documentation
        AllocationId="eipalloc-{id}",
        PublicIp="192.0.2.{octet}",
    ),
    row(
        "EC2::NatGateway",
        "AllocationId= AvailabilityMode= ConnectivityType= PrivateIpAddress= SubnetId= VpcId= "
        "AvailabilityZoneAddresses MaxDrainDurationSeconds SecondaryAllocationIds "
        "SecondaryPrivateIpAddressCount SecondaryPrivateIpAddresses Tags",
        "nat-{id}",
        AutoProvisionZones="disabled",
        AutoScalingIps="disabled",
        EniId="eni-{id}",
        NatGatewayId="nat-{id}",
        RouteTableId="rtb-{id}",
    ),
    row(
        "EC2::FlowLog",
        "ResourceId+= ResourceType+= DeliverCrossAccountRole= DeliverLogsPermissionArn= "
        "DestinationOptions= LogDestination= LogDestinationType= LogFormat= LogGroupName= "
        "MaxAggregationInterval= TagFieldSpecifications= TrafficType= Tags",
        "fl-{id}",
        Id="fl-{id}",
    ),
    row(
        "EC2::SecurityGroupIngress",
        "IpProtocol+= CidrIp= CidrIpv6= FromPort= GroupId= GroupName= SourcePrefixListId= "
        "SourceSecurityGroupId= SourceSecurityGroupName= SourceSecurityGroupOwnerId= ToPort= "
        "Description",
        "sgr-{id}",
        Id="sgr-{id}",
    ),
    row(
        "EC2::SecurityGroupEgress",
        "GroupId+= IpProtocol+= CidrIp= CidrIpv6= DestinationPrefixListId= "
        "DestinationSecurityGroupId= FromPort= ToPort= Description",
        "sgr-{id}",
        Id="sgr-{id}",
    ),
    row(
        "ECS::ClusterCapacityProviderAssociations",
        "Cluster+= DefaultCapacityProviderStrategy+ CapacityProviders",
        "{Cluster}",
    ),
    row(
        "WAFv2::WebACLAssociation",
        "ResourceArn+= WebACLArn+=",
        "{ResourceArn}|{WebACLArn}",
    ),
    # Permissions on data, which are not evaluated, and what watches over an account
    row(
        "LakeFormation::DataLakeSettings",
        "Admins AllowExternalDataFiltering AllowFullTableExternalDataAccess "
        "AuthorizedSessionTagValueList CreateDatabaseDefaultPermissions "
        "CreateTableDefaultPermissions ExternalDataFilteringAllowList MutationType Parameters "
        "ReadOnlyAdmins TrustedResourceOwners",
        "{name}",
        Id="{name}",
    ),
    row(
        "LakeFormation::PrincipalPermissions",
        "Permissions+= PermissionsWithGrantOption+= Principal+= Resource+= Catalog=",
        "{name}|{id}",
        PrincipalIdentifier="{name}",
        ResourceIdentifier="{id}",
    ),
    row(
        "LakeFormation::Resource",
        "ResourceArn+= UseServiceLinkedRole+ HybridAccessEnabled RoleArn WithFederation",
        "{ResourceArn}",
        Id="{ResourceArn}",
    ),
    row(
        "IAM::OIDCProvider",
        "Url= ClientIdList Tags ThumbprintList",
        "arn:aws:iam::{account}:oidc-provider/{host}",
        Arn="{ref}",
    ),
    row(
        "Budgets::Budget",
        "Budget+ NotificationsWithSubscribers= ResourceTags",
        "{name}",
        Id="{name}",
    ),
    row(
        "Glue::SecurityConfiguration",
        "Name+= EncryptionConfiguration+",
        "{Name}",
    ),
)

TYPES: Mapping[str, InertType] = {entry.name: entry for entry in (*_ROWS, *inert_tooling.ROWS)}
"""The resource types there are, by name."""
