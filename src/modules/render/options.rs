//! What values of options contribute by themselves, and where they were set.

use std::collections::BTreeSet;

use super::{By, Render, files, secrets};
use crate::modules::module::Module;
use crate::modules::provenance::Read;
use crate::modules::template::Scope;
use crate::modules::value::Value;
use crate::modules::yaml::{Key, Kind, Node};
use crate::name::OptionPath;
use crate::origin::Origin;

impl Render<'_> {
    /// What options of an image add besides modules: `system.packages` and `environment.files`.
    pub(super) fn image(&mut self) {
        let read = |option: &str| BTreeSet::from([Read::Option(option.to_owned())]);
        if let Some((Value::List(items), origin, option)) = self.option("system.packages") {
            for item in &items {
                let place = self.place_of("system.packages", item.as_text().unwrap_or(""), &origin);
                if let Some(name) = self.package(item.as_text().unwrap_or(""), &place) {
                    self.made.add("packages", name.as_str(), &place);
                    self.starts.insert(name.clone(), option.clone());
                    self.packages.insert(name);
                }
            }
            self.made.finish(None, &read("system.packages"));
        }
        if let Some((Value::Map(files), origin, option)) = self.option("environment.files") {
            let by = By { scope: Scope::default(), option, folder: "images".into() };
            for (path, value) in files {
                let place = self.place_of("environment.files", &path, &origin);
                let node = files::record(&value, &place);
                self.file(&Key { text: path, origin: place }, &node, &by);
            }
            self.made.finish(None, &read("environment.files"));
        }
    }

    /// Refuses values of active modules that name a secret which nobody declares.
    pub(super) fn check_options(&mut self, modules: &[&Module]) {
        for module in modules.iter().filter(|module| self.around.active(&module.path) == Ok(true)) {
            for (path, declared) in &module.options {
                let Some((value, origin, _)) = self.option(path) else { continue };
                let names = declared.ty.secrets(&value).into_iter().map(str::to_owned);
                let needed = |name| secrets::Needed { name, by: format!("`{path}`"), origin: origin.clone() };
                self.needed.extend(names.map(needed));
            }
        }
    }

    /// The value of an option that may not be declared, and where it was set.
    pub(super) fn option(&self, path: &str) -> Option<(Value, Origin, OptionPath)> {
        let declared = self.around.catalogue.get(path).filter(|declared| self.around.has_value(path, declared))?;
        let setting = self.around.setting(path).ok()?;
        let set = setting.definitions.first().map_or(&declared.origin, |definition| &definition.origin);
        Some((setting.value.clone(), set.clone(), path.parse().ok()?))
    }

    /// Where an image or module wrote a key or an entry of an option's value.
    pub(super) fn place_of(&self, option: &str, word: &str, otherwise: &Origin) -> Origin {
        let defs = self.around.definitions.get(option).into_iter().flatten().rev();
        let found = defs.filter_map(|(def, _)| match &def.node.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.text == word).map(|(key, _)| key.origin.clone()),
            Kind::List(items) => {
                let same = |node: &&Node| matches!(&node.kind, Kind::Scalar { text, .. } if text == word);
                items.iter().find(same).map(|node| node.origin.clone())
            }
            Kind::Scalar { .. } => None,
        });
        found.into_iter().next().unwrap_or_else(|| otherwise.clone())
    }
}
