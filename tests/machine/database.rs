//! The database of the production machine: who is let in, what depends on it, and its backups.

use crate::lab::wait_for;
use crate::scene::Scene;
use crate::site::Site;
use crate::webhooks::github;

pub fn passwords(scene: &Scene) {
    println!("over the loopback interface the database lets in who has the password of the project, and nobody else");
    let by_password = |password: &str| {
        let psql = "/usr/lib/postgresql/17/bin/psql -w -XAtc 'select current_user'";
        scene.root(&format!("PGPASSWORD={password} {psql} 'host=127.0.0.1 user=app dbname=app' 2>&1 || true"))
    };
    let secret = scene.secret("production", "postgresql-app");
    assert_eq!(by_password("$(cat /run/secrets/postgresql-app)"), "app");
    assert_eq!(scene.root("cat /run/secrets/postgresql-app"), secret);
    assert!(by_password("wrong").contains("password authentication failed"));
    assert!(by_password("").contains("no password supplied"));
}

pub fn stopped(scene: &Scene, site: &Site) {
    println!("without its database the machine lives, but is not ready, and takes no webhook");
    scene.root("systemctl stop postgresql.service");
    assert_eq!(site.get("/live").status, 200);
    wait_for("it to be unready", || (site.get("/ready").status == 503).then_some(()));
    let refused = github(site, &scene.secret("production", "webhook-secret"), "three", "push", b"{}");
    assert_eq!((refused.status, refused.header("retry-after").is_empty()), (503, false), "{refused:?}");
    scene.root("systemctl start postgresql.service postgresql-declared.service");
    wait_for("it to be ready", || (site.get("/ready").status == 200).then_some(()));
}

pub fn backup(scene: &Scene) {
    println!("a backup is whole, holds what was in the database, and tells when it fails");
    scene.root("systemctl start postgresql-backup.service");
    let dump = scene.root("zstd -dcq /var/backups/postgresql/*.sql.zst");
    let has = |delivery| dump.lines().any(|line| line.split('\t').any(|field| field == delivery));
    assert!(dump.contains("CREATE DATABASE webhook") && has("one") && has("two") && !has("forged"), "{}", dump.len());
    assert!(
        scene
            .root("cat /var/lib/node-exporter/backup-postgresql.prom")
            .contains("rave_backup_failed{what=\"postgresql\"} 0")
    );
    scene.root(
        "mount -t tmpfs -o size=4k,mode=0700,uid=951 none /var/backups/postgresql; \
         if systemctl start postgresql-backup.service; then exit 1; fi; umount /var/backups/postgresql; \
         grep -q 'failed{.*} 1$' /var/lib/node-exporter/backup-postgresql.prom; systemctl reset-failed; \
         systemctl start postgresql-backup.service",
    );

    println!("one that is killed tells, too, and leaves nothing behind");
    let psql = "/usr/lib/postgresql/17/bin/psql -h /run/postgresql -U postgres -d webhook -XAtqc";
    let held = "from pg_locks where granted and mode = $$AccessExclusiveLock$$";
    scene.root(&format!(
        "cd /var/backups/postgresql; \
         systemd-run -q --unit=holds {psql} 'begin; lock table webhook.event; select pg_sleep(600)'; \
         until {psql} 'select 1 {held}' | grep -q 1; do sleep 0.2; done; \
         systemctl start --no-block postgresql-backup.service; until test -s .new.sql; do sleep 0.2; done; \
         systemctl kill --signal=KILL postgresql-backup.service; \
         until systemctl is-failed -q postgresql-backup.service; do sleep 0.2; done; \
         {psql} 'select pg_terminate_backend(pid) {held}'; while systemctl is-active -q holds.service; do sleep 0.2; done; \
         grep -q 'failed.* 1$' /var/lib/node-exporter/backup-postgresql.prom; test ! -e .new.sql; systemctl reset-failed"
    ));

    println!("on a full disk what was known of backups stays, and the dump has failed");
    scene.root(
        r#"cd /var/lib/node-exporter; cp backup-postgresql.prom /run/before.prom;
         mount -t tmpfs -o size=4k,mode=0775,gid=956 none /var/lib/node-exporter;
         cp /run/before.prom /var/lib/node-exporter/backup-postgresql.prom;
         if systemctl start postgresql-backup.service; then exit 1; fi;
         test "$(cat /run/before.prom)" = "$(cat /var/lib/node-exporter/backup-postgresql.prom)";
         cd /; umount --lazy /var/lib/node-exporter; systemctl reset-failed; systemctl start postgresql-backup.service;
         grep -q 'failed{.*} 0$' /var/lib/node-exporter/backup-postgresql.prom"#,
    );

    println!("what cannot be archived is counted, for the alert");
    let metrics = scene.get(9187, "/metrics");
    let failed = metrics.lines().find(|line| line.starts_with("pg_stat_archiver_failed_count{"));
    assert!(failed.is_some_and(|line| line.ends_with("} 0")), "{failed:?}");
}
