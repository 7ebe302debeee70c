//! What `deploy/ci/` has for pipelines, run by a shell: the files themselves, with the variables that the services set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::{text, world};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ci")
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

/// A command with the built program, and what is in `directory`, in its path.
fn command(program: &str, directory: &Path) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_image-size-exporter")).parent().unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", directory.display(), built.display());
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear().env("PATH", path).env("HOME", directory);
    command
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn the_shell_example_passes_its_variables_and_the_exit_code_on() {
    let (registry, directory, name) = world();
    registry.missing("/v2/acme/app/manifests/v0");
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command("sh", directory.path());
        command.arg(folder().join("check.sh")).args(arguments).envs(variables.iter().copied());
        command.output().unwrap()
    };
    let (v0, v1, v2) = (name("v0"), name("v1"), name("v2"));
    let growth = [("IMAGE_SIZE_NEW", &*v2), ("IMAGE_SIZE_AGAINST", &v1), ("IMAGE_SIZE_MAX_GROWTH", "10%")];
    let too_big = run(&growth, &["--bytes"]);
    assert_eq!(code(&too_big), Some(7), "{}", text(&too_big.stderr));
    assert!(text(&too_big.stdout).contains("57671680 COPY 57671680 bytes"), "{}", text(&too_big.stdout));
    assert_eq!(code(&run(&[&growth[..], &[("IMAGE_SIZE_MAX_GROWTH_FLOOR", "40MiB")]].concat(), &[])), Some(0));
    assert_eq!(code(&run(&[growth[0], ("IMAGE_SIZE_MAX_SIZE", "1MiB")], &[])), Some(7));
    let first = [growth[0], ("IMAGE_SIZE_AGAINST", &v0)];
    assert_eq!(code(&run(&first, &[])), Some(0));
    assert_eq!(code(&run(&first, &["--require-baseline"])), Some(8));
    fs::write(
        directory.path().join("sizes.toml"),
        format!("[[targets]]\nrepository = '{}/acme/app'\ntags = ['v9']\nbudget = '1MiB'\n", registry.name()),
    )
    .unwrap();
    let budget = [growth[0], ("IMAGE_SIZE_AS", &name("v9")), ("IMAGE_SIZE_CONFIG", "sizes.toml")];
    assert_eq!(code(&run(&budget, &[])), Some(7));
    let nothing = run(&[], &[]);
    assert!(code(&nothing) != Some(0) && text(&nothing.stderr).contains("names the image to judge"));
}

#[test]
fn the_gitlab_job_leaves_its_report_and_fails_with_the_image() {
    let (_registry, directory, name) = world();
    let job = &yaml("gitlab.yml")[".image-size"];
    let mut variables: BTreeMap<String, String> = job["variables"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let mut set = |key: &str, value: String| assert!(variables.insert(key.to_owned(), value).is_some(), "{key}");
    set("IMAGE_SIZE_NEW", name("v2"));
    set("IMAGE_SIZE_AGAINST", name("v1"));
    set("IMAGE_SIZE_MAX_GROWTH", "10%".to_owned());
    let script: Vec<&str> = job["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let run = |more: &[(&str, &str)]| {
        // As GitLab's runner runs a job.
        let mut command = command("sh", directory.path());
        command.args(["-e", "-c", &script.join("\n")]).envs(&variables).envs(more.iter().copied());
        command.output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(code(&output), Some(7), "{}", text(&output.stderr));
    let kept = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(kept(job["artifacts"]["reports"]["junit"].as_str().unwrap()).contains("failures=\"1\""));
    assert!(kept(job["artifacts"]["paths"][0].as_str().unwrap()).contains("is too big"));
    assert_eq!(code(&run(&[("IMAGE_SIZE_MAX_GROWTH_FLOOR", "40MiB")])), Some(0));
}

/// The action's steps with these inputs, as the runner gives them to `bash`. Expressions outside of `env` are refused:
/// a value that became part of a script could run as one.
struct Action<'a> {
    directory: &'a Path,
    description: Value,
    values: BTreeMap<String, String>,
}

impl<'a> Action<'a> {
    fn new(directory: &'a Path, inputs: &[(&str, &str)]) -> Self {
        let description = yaml("github/action.yml");
        let declared = description["inputs"].as_object().unwrap();
        let mut values: BTreeMap<String, String> = declared
            .iter()
            .map(|(name, input)| (format!("inputs.{name}"), input["default"].as_str().unwrap_or_default().to_owned()))
            .collect();
        for (name, value) in inputs {
            assert!(values.insert(format!("inputs.{name}"), (*value).to_owned()).is_some(), "{name} is no input");
        }
        values.insert("github.token".to_owned(), "secret".to_owned());
        values.insert("github.event.pull_request.number".to_owned(), "12".to_owned());
        let markdown = directory.join("image-size.md").display().to_string();
        values.insert("steps.check.outputs.markdown".to_owned(), markdown);
        Self { directory, description, values }
    }

    fn step(&self, at: usize) -> Output {
        let step = &self.description["runs"]["steps"][at];
        let script = step["run"].as_str().unwrap();
        assert!(step["shell"] == "bash" && !script.contains("${{"), "{script}");
        let mut command = command("bash", self.directory);
        for (key, value) in step["env"].as_object().unwrap() {
            let name = value.as_str().unwrap().strip_prefix("${{ ").and_then(|rest| rest.strip_suffix(" }}")).unwrap();
            command.env(key, &self.values[name]);
        }
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .env("GITHUB_ACTION_PATH", folder().join("github"))
            .env("GITHUB_REPOSITORY", "acme/app")
            .env("GITHUB_JOB", "build")
            .env("GITHUB_OUTPUT", self.directory.join("output"))
            .env("GITHUB_STEP_SUMMARY", self.directory.join("summary"))
            .env("RUNNER_TEMP", self.directory);
        command.output().unwrap()
    }
}

#[test]
fn the_github_action_annotates_summarises_and_comments() {
    let (registry, directory, name) = world();
    let (v1, v2) = (name("v1"), name("v2"));
    let file = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    let action = Action::new(directory.path(), &[("new", &v2), ("against", &v1), ("max-growth", "10%")]);
    let output = action.step(0);
    assert_eq!(code(&output), Some(7), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("::error title="), "{}", text(&output.stdout));
    assert!(file("summary").starts_with(&format!("**❌ `{v2}` is too big**")), "{}", file("summary"));
    assert_eq!(file("output"), format!("markdown={}\n", directory.path().join("image-size.md").display()));
    assert_eq!(action.description["outputs"]["markdown"]["value"], "${{ steps.check.outputs.markdown }}");

    // GitHub's own program: it has one comment of another job, then also ours.
    let gh = directory.path().join("gh");
    let stub = "#!/bin/sh\necho \"$@\" >> calls\ncase \"$*\" in *--paginate*) cat comments;; esac\n";
    fs::write(&gh, stub).unwrap();
    fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).unwrap();
    for (comments, call) in [
        ("", "api --method POST repos/acme/app/issues/12/comments --field body=@"),
        ("77\n78\n", "api --method PATCH repos/acme/app/issues/comments/77 --field body=@"),
    ] {
        fs::write(directory.path().join("comments"), comments).unwrap();
        let output = action.step(1);
        assert_eq!(code(&output), Some(0), "{}", text(&output.stderr));
        assert!(file("calls").lines().last().unwrap().starts_with(call), "{}", file("calls"));
    }
    assert!(file("image-size-comment.md").starts_with("<!-- image size: build -->\n**❌ "));
    let condition = action.description["runs"]["steps"][1]["if"].as_str().unwrap();
    assert!(condition.contains("inputs.comment == 'true'") && action.values["inputs.comment"] == "false");

    // Without a verdict there is nothing to show.
    registry.missing("/v2/acme/app/manifests/v9");
    for left in ["summary", "output"] {
        fs::remove_file(directory.path().join(left)).unwrap();
    }
    let output = Action::new(directory.path(), &[("new", &name("v9"))]).step(0);
    assert_eq!(code(&output), Some(4), "{}", text(&output.stderr));
    assert_eq!((file("summary").as_str(), file("output").as_str()), ("", ""));
}
