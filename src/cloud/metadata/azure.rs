//! Microsoft Azure's instance metadata service, and as much of its wire server as tells that a machine is ready.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Instance, Request, Response};

/// The response of 169.254.169.254 (Azure documentation, "Azure Instance Metadata Service").
pub fn metadata(instance: &Instance, request: &Request) -> Response {
    let parts = request.parts();
    if parts.first() != Some(&"metadata") {
        return Response::status(404);
    }
    // Requests that came through a proxy, or that a program may have been led to, are refused.
    let is_meant = request.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !is_meant || request.header("x-forwarded-for").is_some() || request.parameter("api-version").is_none() {
        return Response::status(400);
    }
    if request.method != "GET" {
        return Response::status(405);
    }
    let extended = request.parameter("extended").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    match parts.as_slice() {
        ["metadata", "instance", rest @ ..] => {
            let document = document(instance, extended);
            let value = rest.iter().try_fold(&document, |value, part| value.get(part));
            value.map_or_else(|| Response::status(404), Response::json)
        }
        _ => Response::status(404),
    }
}

/// The response of 168.63.129.16, of which the Azure agent's sources are the reference.
pub fn wire_server(instance: &Instance, request: &Request) -> Response {
    let xml = |body: String| Response::of("text/xml; charset=utf-8", body);
    match (request.method.as_str(), request.parts().as_slice(), request.parameter("comp")) {
        ("GET", [], Some("versions")) => xml(VERSIONS.to_owned()),
        (_, ["machine"], _) if request.header("x-ms-version").is_none() => Response::status(400),
        ("GET", ["machine"], Some("goalstate")) => xml(goal_state(instance)),
        ("POST", ["machine"], Some("health")) => Response::status(200),
        _ => Response::status(404),
    }
}

/// `ovf-env.xml` on the disk that an Azure machine finds at its first start. What `az vm create --custom-data` is given is
/// in it, and nowhere else.
pub fn provisioning(instance: &Instance) -> Vec<u8> {
    let (user, name) = (escape(&instance.user), escape(&instance.name));
    let custom_data = match instance.user_data.as_slice() {
        [] => String::new(),
        bytes => format!("<ns1:CustomData>{}</ns1:CustomData>", BASE64_STANDARD.encode(bytes)),
    };
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <ns0:Environment xmlns:ns0=\"http://schemas.dmtf.org/ovf/environment/1\" \
         xmlns:ns1=\"http://schemas.microsoft.com/windowsazure\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><ns1:ProvisioningSection><ns1:Version>1.0</ns1:Version>\
         <ns1:LinuxProvisioningConfigurationSet>\
         <ns1:ConfigurationSetType>LinuxProvisioningConfiguration</ns1:ConfigurationSetType>\
         <ns1:HostName>{name}</ns1:HostName><ns1:UserName>{user}</ns1:UserName>\
         <ns1:DisableSshPasswordAuthentication>true</ns1:DisableSshPasswordAuthentication>{custom_data}\
         </ns1:LinuxProvisioningConfigurationSet></ns1:ProvisioningSection>\
         <ns1:PlatformSettingsSection><ns1:Version>1.0</ns1:Version><ns1:PlatformSettings>\
         <ns1:ProvisionGuestAgent>false</ns1:ProvisionGuestAgent><ns1:PreprovisionedVm>false</ns1:PreprovisionedVm>\
         </ns1:PlatformSettings></ns1:PlatformSettingsSection></ns0:Environment>\n"
    );
    text.into_bytes()
}

/// Text between tags (XML 1.0, 2.4).
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const VERSIONS: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Versions><Preferred><Version>2015-04-05</Version></Preferred>\
                        <Supported><Version>2012-11-30</Version></Supported></Versions>\n";

/// The state that a machine has: started, and nothing to fetch. All of it is digits, letters and dashes.
fn goal_state(instance: &Instance) -> String {
    let container = &instance.uuid;
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<GoalState><Version>2012-11-30</Version><Incarnation>1</Incarnation>\
         <Machine><ExpectedState>Started</ExpectedState></Machine><Container><ContainerId>{container}</ContainerId>\
         <RoleInstanceList><RoleInstance><InstanceId>{container}._{name}</InstanceId><State>Started</State>\
         </RoleInstance></RoleInstanceList></Container></GoalState>\n",
        name = instance.name
    )
}

fn document(instance: &Instance, extended: bool) -> Value {
    let path = format!("/home/{}/.ssh/authorized_keys", instance.user);
    let keys = instance.public_keys.iter().map(|key| json!({ "keyData": key, "path": path }));
    let mut document = json!({
        "compute": {
            "azEnvironment": "AzurePublicCloud",
            "location": "germanywestcentral",
            "name": instance.name,
            "osProfile": {
                "adminUsername": instance.user, "computerName": instance.name, "disablePasswordAuthentication": "true",
            },
            "osType": "Linux",
            "publicKeys": keys.collect::<Vec<_>>(),
            "resourceGroupName": "rehearsal",
            "tagsList": [],
            // Another thing than custom data, and not given.
            "userData": "",
            "vmId": instance.uuid,
            "vmSize": "Standard_B2s",
            "zone": "",
        },
        "network": { "interface": [{
            "ipv4": {
                "ipAddress": [{ "privateIpAddress": instance.address.to_string(), "publicIpAddress": "" }],
                "subnet": [{ "address": "10.0.2.0", "prefix": "24" }],
            },
            "ipv6": { "ipAddress": [] },
            "macAddress": instance.mac("").to_uppercase(),
        }] },
    });
    if extended {
        let has_custom_data = !instance.user_data.is_empty();
        document["extended"] = json!({ "compute": { "hasCustomData": has_custom_data, "ppsType": "None" } });
    }
    document
}
