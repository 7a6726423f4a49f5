package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/network"
)

func newLocalnetRunCmd(a *app) *cobra.Command {
	var u upFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]",
		Short: "Run a command against a network that lives as long as the command does",
		Long: "Run a command against a network that lives as long as the command does. Its environment has\n" +
			"OPENAI_BASE_URL and OPENAI_API_KEY, so programs that use an OpenAI SDK need no change, and\n" +
			"COCOON_MODEL, the model to ask for. Its output is passed on; the network says nothing on stdout.\n" +
			"When the command fails the exit code is 1.",
		Example: "  cocoon localnet run -- python3 app.py\n" +
			"  cocoon localnet run --model tiny.gguf -- sh -c 'curl -s $OPENAI_BASE_URL/models'",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, command []string) error { return a.localnetRun(cmd.Context(), &u, command) },
	}
	u.register(cmd)
	return cmd
}

func (a *app) localnetRun(ctx context.Context, u *upFlags, command []string) error {
	if len(command) == 0 {
		return cli.Tag(cli.KindUsage, errors.New("missing argument COMMAND"), "usage: cocoon localnet run [flags] -- COMMAND [ARG...]")
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("looking for the command: %w", err))
	}
	return a.withNetwork(ctx, u, func(ctx context.Context, d network.Description) error {
		return a.command(ctx, program, command, &d)
	})
}

// command runs the command against the network; ctx ends when either is to end.
func (a *app) command(ctx context.Context, program string, command []string, d *network.Description) error {
	cmd := exec.CommandContext(ctx, program, command[1:]...)
	cmd.Args[0] = command[0]
	cmd.Env = append(os.Environ(), "OPENAI_BASE_URL="+d.URL+"/v1", "OPENAI_API_KEY=none", "COCOON_MODEL="+d.Model)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endTime
	if err := cmd.Run(); err != nil {
		return cli.Tag(cli.KindError, fmt.Errorf("running %s: %w", command[0], err))
	}
	return nil
}
