//! Shell completions and the manual page, both generated from the arguments.

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;

/// Returns a completion script.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "gradprobe", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Returns the manual as roff: a page for the program, followed by one for each command.
pub(super) fn manual() -> String {
    let mut command = Arguments::command();
    command.build();
    let mut pages = Vec::new();
    let commands = command
        .get_subcommands()
        .filter(|command| command.get_name() != "help" && !command.is_hide_set());
    for command in std::iter::once(&command).chain(commands) {
        let page = clap_mangen::Man::new(command.clone());
        page.render(&mut pages).expect("a vector takes everything");
    }
    String::from_utf8_lossy(&pages).into_owned()
}
