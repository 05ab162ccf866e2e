//! Users and groups: /etc/passwd, group, shadow and gshadow before the first script runs, and without dates after
//! the last one. Pure.

use std::collections::BTreeMap;

use crate::system::{Group, User};

/// The four files.
#[derive(Debug, PartialEq, Eq)]
pub struct Accounts {
    pub passwd: String,
    pub group: String,
    pub shadow: String,
    pub gshadow: String,
}

const DAY: i64 = 86_400;

/// Combines base-passwd's masters with the image's own users and groups. The error is one sentence.
pub fn seed(
    passwd_master: &str,
    group_master: &str,
    users: &BTreeMap<String, User>,
    groups: &BTreeMap<String, Group>,
    epoch: i64,
) -> Result<Accounts, String> {
    let mut group_lines = read(group_master, 4)?;
    for (name, group) in groups {
        insert(&mut group_lines, "group", vec![name.clone(), "x".into(), group.gid.to_string(), String::new()])?;
    }
    let mut passwd_lines = read(passwd_master, 7)?;
    for (name, user) in users {
        let gid = group_lines.iter().find(|line| line[0] == user.group).map(|line| line[2].clone());
        let gid = gid.ok_or_else(|| format!("user {name} has the group {}, which does not exist", user.group))?;
        let (home, shell) = (user.home.to_string(), user.shell.to_string());
        let line = [name, "x", &user.uid.to_string(), &gid, &user.description, &home, &shell];
        insert(&mut passwd_lines, "user", line.map(str::to_owned).to_vec())?;
        for member_of in &user.groups {
            let line = group_lines.iter_mut().find(|line| line[0] == *member_of);
            let line = line.ok_or_else(|| format!("user {name} is in the group {member_of}, which does not exist"))?;
            let separator = if line[3].is_empty() { "" } else { "," };
            line[3] = format!("{}{separator}{name}", line[3]);
        }
    }
    for line in passwd_lines.iter_mut().chain(&mut group_lines) {
        line[1] = "x".into();
    }
    let day = epoch / DAY;
    let shadow = passwd_lines.iter().map(|line| format!("{}:*:{day}:0:99999:7:::\n", line[0])).collect();
    let gshadow = group_lines.iter().map(|line| format!("{}:*::{}\n", line[0], line[3])).collect();
    Ok(Accounts { passwd: write(&passwd_lines), group: write(&group_lines), shadow, gshadow })
}

/// The lines of a file, each split into exactly `fields` fields.
fn read(text: &str, fields: usize) -> Result<Vec<Vec<String>>, String> {
    let lines = text.lines().map(|line| {
        let parts: Vec<String> = line.split(':').map(str::to_owned).collect();
        if parts.len() == fields { Ok(parts) } else { Err(format!("base-passwd has the malformed line {line:?}")) }
    });
    lines.collect()
}

/// Adds a line, or replaces the one of the same name and id.
fn insert(lines: &mut Vec<Vec<String>>, kind: &str, line: Vec<String>) -> Result<(), String> {
    let name = &line[0];
    if name.is_empty() || line.iter().any(|field| field.contains([':', '\n', '\0'])) {
        return Err(format!("{kind} {name:?} has a colon, a line break or nothing in a field"));
    }
    if let Some(other) = lines.iter().find(|other| (other[0] == line[0]) != (other[2] == line[2])) {
        return Err(format!("{kind} {name} with id {} is in the way of {} with id {}", line[2], other[0], other[2]));
    }
    match lines.iter_mut().find(|other| other[0] == line[0]) {
        Some(other) => *other = line,
        None => lines.push(line),
    }
    Ok(())
}

fn write(lines: &[Vec<String>]) -> String {
    lines.iter().map(|line| line.join(":") + "\n").collect()
}

/// Sets the day of the last password change, where there is one, to that of `epoch`.
pub fn without_dates(shadow: &str, epoch: i64) -> String {
    let day = (epoch / DAY).to_string();
    let dated = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(changed) = fields.get_mut(2).filter(|changed| !changed.is_empty()) {
            *changed = &day;
        }
        fields.join(":") + "\n"
    };
    shadow.lines().map(dated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    const GROUP: &str = "root:*:0:\nsudo:*:27:\nnogroup:*:65534:\n";

    fn user(uid: u32, group: &str, groups: &[&str]) -> User {
        User {
            uid,
            group: group.into(),
            groups: groups.iter().map(|&g| g.to_owned()).collect(),
            description: "Agent".into(),
            home: "/home/agent".parse().unwrap(),
            shell: "/bin/bash".parse().unwrap(),
        }
    }

    fn with(name: &str, user: User, groups: &[(&str, u32)]) -> Result<Accounts, String> {
        let groups = groups.iter().map(|&(name, gid)| (name.to_owned(), Group { gid })).collect();
        seed(PASSWD, GROUP, &BTreeMap::from([(name.to_owned(), user)]), &groups, 2 * DAY + 5)
    }

    #[test]
    fn users_join_those_of_debian() {
        let accounts = with("agent", user(900, "agent", &["sudo"]), &[("agent", 900)]).unwrap();
        assert!(accounts.passwd.ends_with("nologin\nagent:x:900:900:Agent:/home/agent:/bin/bash\n"));
        assert!(accounts.passwd.starts_with("root:x:0:0:"));
        assert_eq!(accounts.group, "root:x:0:\nsudo:x:27:agent\nnogroup:x:65534:\nagent:x:900:\n");
        assert_eq!(accounts.gshadow, "root:*::\nsudo:*::agent\nnogroup:*::\nagent:*::\n");
        assert!(accounts.shadow.ends_with("agent:*:2:0:99999:7:::\n"));
    }

    #[test]
    fn contradictions_are_told() {
        let error = |result: Result<Accounts, String>| result.unwrap_err();
        assert!(error(with("agent", user(900, "none", &[]), &[])).contains("group none, which does not exist"));
        assert!(error(with("agent", user(900, "sudo", &["none"]), &[])).contains("in the group none"));
        assert!(error(with("agent", user(0, "sudo", &[]), &[])).contains("in the way of root with id 0"));
        assert!(error(with("root", user(900, "sudo", &[]), &[])).contains("in the way of root with id 0"));
        assert!(error(with("agent", user(900, "sudo", &[]), &[("other", 27)])).contains("in the way of sudo"));
        assert!(error(with("a:b", user(900, "sudo", &[]), &[])).contains("colon"));
        let bad = User { description: "x\nroot::0:0:".into(), ..user(900, "sudo", &[]) };
        assert!(error(with("agent", bad, &[])).contains("line break"));
    }

    #[test]
    fn dates_of_passwords_follow_the_epoch() {
        assert_eq!(without_dates("a:*:20777:0:::::\nb:!*:::::::\nbad\n", 3 * DAY), "a:*:3:0:::::\nb:!*:::::::\nbad\n");
    }
}
