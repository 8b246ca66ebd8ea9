//! The commands as Discord offers them, made of the same list as help and completion.

use serenity::all::{
    CommandData, CommandDataOptionValue, CommandOptionType, CreateCommand, CreateCommandOption,
};

use crate::commands::COMMANDS;

/// What only the console may do is not offered.
const AT_THE_CONSOLE: [&str; 3] = ["quit", "wait", "fake"];

/// Every command; those of two words are subcommands of their first.
pub(super) fn offered() -> Vec<CreateCommand> {
    let mut offered: Vec<(String, CreateCommand)> = Vec::new();
    for command in COMMANDS.iter() {
        let name = command.get_name();
        if AT_THE_CONSOLE.contains(&name) {
            continue;
        }
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let arguments = command
            .get_positionals()
            .map(|argument| option(name, argument));
        let Some((group, name)) = name.split_once(' ') else {
            let made = CreateCommand::new(name).description(about);
            offered.push((name.to_owned(), made.set_options(arguments.collect())));
            continue;
        };
        let option = CreateCommandOption::new(CommandOptionType::SubCommand, name, about.clone());
        let option = option.set_sub_options(arguments);
        if let Some((last, made)) = offered.last_mut()
            && last == group
        {
            *made = made.clone().add_option(option);
        } else {
            let made = CreateCommand::new(group).description(about);
            offered.push((group.to_owned(), made.add_option(option)));
        }
    }
    offered.into_iter().map(|(_, made)| made).collect()
}

fn option(command: &str, argument: &clap::Arg) -> CreateCommandOption {
    /// Longer than any name or rule that is taken.
    const LONGEST: u16 = 400;
    let about = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let name = argument.get_id().as_str();
    // Discord helps to choose people.
    if command.starts_with("admin") {
        return CreateCommandOption::new(CommandOptionType::User, name, about).required(true);
    }
    let option = CreateCommandOption::new(CommandOptionType::String, name, about)
        .required(argument.is_required_set())
        .max_length(LONGEST);
    let choices = argument.get_possible_values();
    choices.iter().fold(option, |option, choice| {
        option.add_string_choice(choice.get_name(), choice.get_name())
    })
}

/// The words that somebody would type for this.
pub(super) fn words(asked: &CommandData) -> Vec<String> {
    let (mut words, mut options) = (vec![asked.name.clone()], &asked.options);
    if let [only] = options.as_slice()
        && let CommandDataOptionValue::SubCommand(inner) = &only.value
    {
        words.push(only.name.clone());
        options = inner;
    }
    let name = words.join(" ");
    let command = COMMANDS.iter().find(|command| command.get_name() == name);
    // Options come in the order in which they were filled in.
    for argument in command.into_iter().flat_map(clap::Command::get_positionals) {
        let mut given = options.iter();
        match given
            .find(|option| argument.get_id() == option.name.as_str())
            .map(|option| &option.value)
        {
            Some(CommandDataOptionValue::String(text)) => words.push(text.clone()),
            Some(CommandDataOptionValue::User(user)) => words.push(user.to_string()),
            _ => {}
        }
    }
    words
}
