package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cocoon/guest/rtmr"
)

func TestCommandsAreChosenByNameOrArgument(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"by argument":         {[]string{"/init", "router"}, exitError, "error: init router: not in this build"},
		"by argv[0]":          {[]string{"/usr/bin/worker", "-x"}, exitError, "error: init worker: not in this build"},
		"unknown argument":    {[]string{"/init", "shell"}, exitUsage, `"shell" is no command`},
		"init outside of PID": {[]string{"/init"}, exitUsage, "only as PID 1"},
		"no arguments at all": {nil, exitUsage, "only as PID 1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(context.Background(), tc.args, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("code %d, stderr %q", code, stderr.String())
			}
		})
	}
}

func TestEveryCommandIsListedOnceAndDescribed(t *testing.T) {
	var stderr bytes.Buffer
	run(context.Background(), []string{"init", "help"}, &stderr)
	for _, c := range commands() {
		if strings.Count(stderr.String(), "init "+c.name+" ") != 1 || c.does == "" || c.run == nil {
			t.Errorf("command %s in %q", c.name, stderr.String())
		}
	}
}

func TestOutsideATDThereAreNoRegisters(t *testing.T) {
	if _, err := os.Stat(rtmr.DefaultDir); err == nil {
		t.Skip("this machine is a TD")
	}
	var td linuxTD
	if present, err := td.Present(); present || err != nil {
		t.Errorf("%t, %v", present, err)
	}
	if _, err := td.Attributes(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("attributes: %v", err)
	}
}

func TestAwaitChildrenEndsWithItsContext(t *testing.T) {
	cmd := exec.Command("sleep", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := (linuxMachine{}).AwaitChildren(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	if err := (linuxMachine{}).AwaitChildren(context.Background()); err != nil {
		t.Errorf("err = %v", err)
	}
}
