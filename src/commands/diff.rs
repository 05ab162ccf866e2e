pub fn run(_: &crate::cli::Diff, _: &super::Context) -> super::Result<super::Status> {
    Ok(super::Status::Done)
}
