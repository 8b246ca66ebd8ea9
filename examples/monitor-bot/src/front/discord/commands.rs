//! The commands as Discord offers them, made of the same list as help and completion.

use serenity::all::{
    CommandData, CommandDataOptionValue, CommandOptionType, CreateCommand, CreateCommandOption,
};

use crate::commands::{COMMANDS, first_word};

/// What only the console may do is not offered.
const AT_THE_CONSOLE: [&str; 3] = ["quit", "wait", "fake"];

/// Every command; those of two words are subcommands of their first.
pub(super) fn offered() -> Vec<CreateCommand> {
    let alike = COMMANDS.chunk_by(|one, next| first_word(one) == first_word(next));
    let wanted = alike.filter(|alike| !AT_THE_CONSOLE.contains(&first_word(&alike[0])));
    let offered = wanted.map(|alike| {
        let made = CreateCommand::new(first_word(&alike[0])).description(about(&alike[0]));
        alike.iter().fold(made, |made, command| {
            let arguments = command.get_positionals();
            let arguments = arguments.map(|argument| option(command.get_name(), argument));
            match command.get_name().split_once(' ') {
                None => made.set_options(arguments.collect()),
                Some((_, name)) => made.add_option(
                    CreateCommandOption::new(CommandOptionType::SubCommand, name, about(command))
                        .set_sub_options(arguments),
                ),
            }
        })
    });
    offered.collect()
}

fn about(command: &clap::Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
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
