package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cocoon/cmd/internal/cli"
)

// dispatch makes every noun refuse a verb that it does not have, with a suggestion. Without it the command library
// prints the noun's help and succeeds.
func dispatch(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		dispatch(sub)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownVerb(cmd, args[0])
	}
}

func unknownVerb(cmd *cobra.Command, word string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	err := cli.Usagef("unknown verb %q for %q", word, cmd.CommandPath())
	if near := cli.Suggest(word, names); len(near) > 0 {
		return cli.Tag(cli.KindUsage, err, "did you mean \""+cmd.CommandPath()+" "+near[0]+"\"?")
	}
	return cli.Tag(cli.KindUsage, err, cmd.CommandPath()+" has: "+strings.Join(names, ", "))
}

// flagError turns the library's flag errors into usage errors with a suggestion.
func flagError(cmd *cobra.Command, err error) error {
	hint := "run \"" + cmd.CommandPath() + " --help\""
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		slices.Sort(names)
		if near := cli.Suggest(missing.GetSpecifiedName(), slices.Compact(names)); len(near) > 0 {
			hint = "did you mean --" + near[0] + "?"
		}
	}
	return cli.Tag(cli.KindUsage, err, hint)
}

// args checks the number of arguments; name is how the usage line calls them.
func args(least, most int, name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return cli.Tag(cli.KindUsage, errors.New("missing argument "+name), "usage: "+cmd.UseLine())
		case len(args) > most:
			return cli.Tag(cli.KindUsage, errors.New("unexpected argument \""+args[most]+"\""), "usage: "+cmd.UseLine())
		}
		return nil
	}
}
