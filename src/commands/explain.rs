pub fn run(_: &crate::cli::Explain, _: &super::Context) -> super::Result<super::Status> {
    Ok(super::Status::Done)
}
