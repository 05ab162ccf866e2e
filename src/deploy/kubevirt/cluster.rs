//! What only targets of the kind `kubevirt` have.

use crate::deploy::registry::Repository;
use crate::deploy::target::machine_name;
use crate::modules::fields::{self, nearest};
use crate::modules::yaml::{self, Node};
use crate::name::ImageName;
use crate::origin::Diagnostic;

/// The longest name of a namespace or another object that is named here (RFC 1123, 2.1).
const LABEL: usize = 63;
/// How the machines' ports are reached together (Kubernetes' types of Service).
const SERVICES: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];

/// Where in a cluster the machines of a target run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The namespace, which is there.
    pub namespace: String,
    /// Where the image is pushed to and pulled from.
    pub repository: Repository,
    /// File with credentials for the push (containers-auth.json(5)).
    pub registry_auth: Option<String>,
    /// Name of the Secret with credentials for the pull.
    pub pull_secret: Option<String>,
    /// File that says how the cluster is reached; the user's own if it is not given.
    pub kubeconfig: Option<String>,
    /// Context in that file.
    pub context: Option<String>,
    /// Type of the Service before all machines.
    pub service: &'static str,
    /// Whether it is all right that what machines write is lost when they start anew.
    pub ephemeral: bool,
    /// Names of the machines, in the order of their roll-out.
    pub machines: Vec<ImageName>,
}

impl Cluster {
    /// Its keys in a target.
    pub const KEYS: [&str; 8] =
        ["namespace", "repository", "registry-auth", "pull-secret", "kubeconfig", "context", "service", "ephemeral"];

    /// Reads them; what is wrong is added to `errors`.
    pub(crate) fn parse(root: &Node, errors: &mut Vec<Diagnostic>) -> Option<Self> {
        let before = errors.len();
        let text = |key: &str, errors: &mut Vec<Diagnostic>| {
            root.get(key).and_then(|node| Some((node, fields::text(node, &format!("`{key}`"), errors)?)))
        };
        let label = |key: &str, errors: &mut Vec<Diagnostic>| {
            let (node, text) = text(key, errors)?;
            if is_label(&text) {
                return Some(text);
            }
            let wrong = Diagnostic::error(&node.origin, format!("`{key}` must not be `{}`", yaml::shorten(&text)));
            errors.push(wrong.help("it is 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -"));
            None
        };
        let mut missing = |key: &str, help: &str| {
            if root.get(key).is_none() {
                errors.push(Diagnostic::error(&root.origin, format!("the target has no `{key}`")).help(help));
            }
        };
        missing("namespace", "write the namespace that its machines run in; it must be there");
        missing("repository", "write where the image is pushed to, such as `registry.example.org/vm/shop`");
        let namespace = label("namespace", errors);
        let repository = text("repository", errors).and_then(|(node, text)| match text.parse::<Repository>() {
            Ok(repository) => Some(repository),
            Err(reason) => {
                let text = yaml::shorten(&text);
                let wrong = Diagnostic::error(&node.origin, format!("`repository` must not be `{text}`: {reason}"));
                errors.push(wrong.help("write HOST[:PORT]/NAME without a tag, such as `registry.example.org/vm/shop`"));
                None
            }
        });
        let service = text("service", errors).map_or(Some(SERVICES[0]), |(node, text)| {
            let known = SERVICES.into_iter().find(|service| *service == text);
            if known.is_none() {
                let wrong =
                    Diagnostic::error(&node.origin, format!("`service` must not be `{}`", yaml::shorten(&text)));
                errors.push(match nearest(&text, SERVICES) {
                    Some(near) => wrong.help(format!("did you mean `{near}`?")),
                    None => wrong.help(format!("the types are {}", SERVICES.join(", "))),
                });
            }
            known
        });
        let ephemeral = root.get("ephemeral").and_then(|node| fields::flag(node, "`ephemeral`", errors));
        let cluster = Self {
            namespace: namespace.unwrap_or_default(),
            repository: repository.unwrap_or_default(),
            registry_auth: text("registry-auth", errors).map(|(_, text)| text),
            pull_secret: label("pull-secret", errors),
            kubeconfig: text("kubeconfig", errors).map(|(_, text)| text),
            context: text("context", errors).map(|(_, text)| text),
            service: service.unwrap_or_default(),
            ephemeral: ephemeral.unwrap_or_default(),
            machines: machines(root, errors),
        };
        (errors.len() == before).then_some(cluster)
    }
}

fn machines(root: &Node, errors: &mut Vec<Diagnostic>) -> Vec<ImageName> {
    let entries = root.get("machines").map(|node| fields::map(node, "`machines`", errors)).unwrap_or_default();
    let mut machines = Vec::new();
    for (key, node) in entries {
        if !node.is_null() {
            for (unknown, _) in fields::map(node, "a machine", errors) {
                let text = format!("unknown key `{}` in a machine", yaml::shorten(&unknown.text));
                errors.push(Diagnostic::error(&unknown.origin, text).help("machines of this kind have no keys"));
            }
        }
        machines.extend(machine_name(&key.text, &key.origin, errors));
    }
    if entries.is_empty() {
        let none = Diagnostic::error(&root.origin, "the target has no machines");
        errors.push(none.help("write `machines: { NAME: {} }`"));
    }
    machines
}

/// Whether a text is a label of DNS as Kubernetes names things.
fn is_label(text: &str) -> bool {
    (1..=LABEL).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use crate::deploy::Target;
    use crate::origin::Source;

    fn read(text: &str) -> Result<Target, Vec<String>> {
        let told = |errors: Vec<crate::origin::Diagnostic>| errors.iter().map(ToString::to_string).collect();
        Target::parse("edge", &Source::new("targets/edge.yaml", format!("kind: kubevirt\n{text}"))).map_err(told)
    }

    #[test]
    fn a_target_names_a_place_in_a_cluster() {
        let target = read(
            "namespace: shop\nrepository: registry.example.org:5000/vm/shop\nregistry-auth: keys/registry.json\n\
             pull-secret: registry\nkubeconfig: keys/cluster.yaml\ncontext: admin@prod\nservice: LoadBalancer\n\
             ephemeral: true\nmachines: { shop-1: {}, shop-2: }\n",
        )
        .unwrap();
        let cluster = target.cluster.unwrap();
        assert_eq!((cluster.namespace.as_str(), cluster.service, cluster.ephemeral), ("shop", "LoadBalancer", true));
        assert_eq!(cluster.repository.to_string(), "registry.example.org:5000/vm/shop");
        assert_eq!(cluster.machines.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop-1", "shop-2"]);
        assert!(target.machines.is_empty());
        let usual = read("namespace: a\nrepository: localhost:5000/a\nmachines: { a: {} }").unwrap().cluster.unwrap();
        assert_eq!((usual.service, usual.ephemeral, usual.pull_secret), ("ClusterIP", false, None));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let told = read(
            "namespace: Shop\nrepository: https://registry/shop\nservice: Loadbalancer\nephemeral: yes\n\
             pull-secret: \"\"\ncontxt: a\nmachines: { shop-1: { host: a }, Shop: {} }",
        );
        insta::assert_snapshot!(told.unwrap_err().join("\n"));
        let told = read("").unwrap_err().join("\n");
        for missing in ["no `namespace`", "no `repository`", "no machines"] {
            assert!(told.contains(missing), "{missing}: {told}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9:{}\\[\\], \n@./-]{0,200}") {
            read(&text).ok();
            read(&format!("namespace: {text}\nrepository: {text}\nmachines: {text}")).ok();
        }
    }
}
