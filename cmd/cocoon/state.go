package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cocoon/cmd/internal/cli"
)

// stateDir is the default place of things that outlive a run; flag names another.
func (a *app) stateDir(name, flag string) (string, error) {
	if dir := a.getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program, name), nil
	}
	if home := a.getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", program, name), nil
	}
	return "", cli.Tag(cli.KindUsage, errors.New("neither HOME nor XDG_STATE_HOME is set"), "name the place with "+flag)
}

// stateFile is a file in the user's state folder, which is made.
func (a *app) stateFile(folder, name, flag string) (string, error) {
	dir, err := a.stateDir(folder, flag)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making state folder: %w", err)
	}
	return filepath.Join(dir, name), nil
}
