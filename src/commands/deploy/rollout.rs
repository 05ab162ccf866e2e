//! What roll-outs of all kinds have in common.

use serde_json::{Value, json};

use crate::name::ImageName;

use super::super::{Context, Failure, Result, Status};

/// Those of a target's machines that were asked for by name; all, if none was.
pub fn chosen<'a, M>(
    target: &str,
    machines: &'a [M],
    name: impl Fn(&M) -> &ImageName,
    names: &[String],
) -> Result<Vec<&'a M>> {
    let is = |machine: &M, asked: &String| name(machine).as_str() == asked;
    if let Some(unknown) = names.iter().find(|asked| !machines.iter().any(|machine| is(machine, asked))) {
        let known: Vec<&str> = machines.iter().map(|machine| name(machine).as_str()).collect();
        return Err(Failure::request(format!("target `{target}` has no machine `{unknown}`"))
            .hint(format!("there are: {}", known.join(", "))));
    }
    let is_asked = |machine: &&M| names.is_empty() || names.iter().any(|asked| is(machine, asked));
    Ok(machines.iter().filter(is_asked).collect())
}

/// Rolls out to machines one after the other, up to the first that is not well. `one` gives what is told of a machine,
/// and whether it is well. Returns all that is told, and whether all are.
pub fn each<T>(
    context: &Context,
    tasks: &[T],
    name: impl Fn(&T) -> &ImageName,
    mut one: impl FnMut(&T) -> Result<(Value, bool)>,
) -> Result<(Vec<Value>, bool)> {
    let mut told = Vec::new();
    for task in tasks {
        let (value, is_well) = one(task)?;
        told.push(value);
        if !is_well {
            let left: Vec<&str> = tasks.iter().skip(told.len()).map(|task| name(task).as_str()).collect();
            if !left.is_empty() {
                context.ui.warn(format!("left as they are: {}", left.join(", ")));
            }
            return Ok((told, false));
        }
    }
    Ok((told, true))
}

/// The end of a roll-out, for programs and as a status.
pub fn end(context: &Context, target: &str, told: &[Value], is_well: bool) -> Status {
    if context.ui.is_json() {
        context.ui.print_json(&json!({"event": "result", "target": target, "machines": told}));
    }
    if is_well { Status::Done } else { Status::Unwell }
}

/// What a roll-out would do to a machine.
pub struct Planned {
    pub machine: String,
    /// The host, cloud or cluster that it is in.
    pub place: String,
    /// The version that it would run.
    pub release: String,
    /// For programs.
    pub actions: Vec<Value>,
    /// For people, a line for each action.
    pub words: Vec<String>,
}

/// Shows what a roll-out would do; `exit_code` has the status say whether it is anything.
pub fn show(context: &Context, planned: &[Planned], exit_code: bool) -> Status {
    if context.ui.is_json() {
        let told = planned.iter().map(|Planned { machine, place, release, actions, .. }| {
            json!({"machine": machine, "host": place, "release": release, "actions": actions})
        });
        context.ui.print_json(&told.collect::<Vec<_>>());
    } else {
        for Planned { machine, place, words, .. } in planned {
            let words = if words.is_empty() { "nothing to do".to_owned() } else { words.join("\n  ") };
            context.ui.print(format!("{machine} on {place}\n  {words}"));
        }
    }
    let changes = planned.iter().any(|planned| !planned.actions.is_empty());
    if changes && exit_code { Status::Unwell } else { Status::Done }
}

/// An image that nobody could check.
pub fn no_ssh(image: &str) -> Failure {
    Failure::request(format!("{image} lets nobody in by SSH, so that it could not be checked"))
        .hint("enable services.ssh")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Rolls out to machines `a`, `b` and `c`, of which one may end otherwise than well. Returns those that were touched,
    /// whether all are well, and what was said.
    fn rolled_out(other: &str, ends: fn() -> Result<bool>) -> (Vec<String>, Result<bool>, String) {
        let context = Context::below(Path::new("nowhere"));
        let machines: [ImageName; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
        let mut touched = Vec::new();
        let done = each(
            &context,
            &machines,
            |name| name,
            |name| {
                touched.push(name.to_string());
                Ok((json!(name), name.as_str() != other || ends()?))
            },
        );
        let is_well = done.map(|(told, is_well)| {
            assert_eq!(json!(told), json!(touched), "each is told of");
            is_well
        });
        (touched, is_well, String::from_utf8(context.ui.said()).unwrap())
    }

    #[test]
    fn the_first_machine_that_is_not_well_ends_a_roll_out() {
        let (touched, is_well, said) = rolled_out("none", || Ok(false));
        assert_eq!((touched.concat().as_str(), is_well.unwrap(), said.as_str()), ("abc", true, ""));
        let (touched, is_well, said) = rolled_out("b", || Ok(false));
        assert_eq!((touched.concat().as_str(), is_well.unwrap()), ("ab", false));
        assert!(said.contains("left as they are: c"), "{said}");
        let (touched, is_well, said) = rolled_out("c", || Ok(false));
        assert_eq!((touched.len(), is_well.unwrap(), said.as_str()), (3, false, ""), "nothing is left");
        let (touched, is_well, _) = rolled_out("a", || Err(Failure::Interrupted));
        assert!(touched.len() == 1 && matches!(is_well, Err(Failure::Interrupted)), "{touched:?}");
    }
}
