package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/manifest"
	"cocoon/image/pipeline"
)

// rule maps an error of a room to what a person should know. The first rule that fits decides.
type rule struct {
	fits func(error) bool
	kind cli.Kind
	// hint is for every verb, building for those that build images instead.
	hint, building string
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// goOn is what a person may do about a build that has ended early.
const goOn = "finished steps are kept: run the same command again to go on"

// rules is the one place where errors of the rooms get exit codes and hints.
func rules() []rule {
	return []rule{
		{is(context.Canceled), cli.KindInterrupted, "", goOn},
		{is(context.DeadlineExceeded), cli.KindTimeout, "", goOn},
		{is(pipeline.ErrUsage), cli.KindUsage, "", ""},
		{is(pipeline.ErrNoGo), cli.KindPrerequisite, "", "install the Go version that mkosi/image.lock names and put it in PATH"},
		{as[*lock.Mismatch], cli.KindPrerequisite, "", ""},
		{as[*fetch.MissingError], cli.KindPrerequisite, "", ""},
		{is(syscall.ENOSPC), cli.KindPrerequisite, "free some space: \"df -h\" shows where there is none", "free some space, or name another disk with --cache DIR and --out DIR"},
		{as[*manifest.MismatchError], cli.KindDifference, "", ""},
		{
			is(fs.ErrPermission), cli.KindPrerequisite,
			"\"ls -ld\" shows whose the file or folder is, \"id\" who you are", "no step needs root: name folders of yours with --cache DIR and --out DIR",
		},
		{is(syscall.ENOTDIR), cli.KindUsage, "name a folder in its place", "name a folder in its place"},
	}
}

// ending is how a command ended, besides its error.
type ending struct {
	// interrupted says that a signal came, late that --timeout has passed, building that the verb builds images.
	interrupted, late, building bool
}

// classify tags an error with its kind and hints. A verdict stays one. A command that was interrupted, or ran out of time, has
// ended by that, whatever its parts said of it. Then what a verb has tagged stands, and the rules are for the rest.
func classify(end ending, err error) error {
	var tagged *cli.Error
	if err == nil || errors.As(err, &tagged) && tagged.Shown {
		return err
	}
	var hints []string
	if end.building {
		hints = append(hints, goOn)
	}
	switch {
	case end.interrupted:
		return cli.Tag(cli.KindInterrupted, fmt.Errorf("interrupted: %w", err), hints...)
	case tagged != nil && (!end.late || tagged.Kind == cli.KindUsage || tagged.Kind == cli.KindTimeout):
		return err
	case end.late:
		return cli.Tag(cli.KindTimeout, fmt.Errorf("time is up: %w", err), append(hints, "give it more with --timeout")...)
	}
	if !end.building && errors.Is(err, fs.ErrNotExist) { // builds read files of the checkout besides those that are named
		return cli.Tag(cli.KindUsage, err, "check the name in the command")
	}
	return byRule(end, err)
}

// byRule tags an error as the first rule says that it fits.
func byRule(end ending, err error) error {
	for _, r := range rules() {
		if !r.fits(err) {
			continue
		}
		if end.building {
			r.hint = r.building
		}
		if r.hint == "" {
			return cli.Tag(r.kind, err)
		}
		return cli.Tag(r.kind, err, r.hint)
	}
	return err
}

// builds says whether a verb builds images, in steps that are kept.
func builds(cmd *cobra.Command) bool {
	path := cmd.CommandPath() + " "
	return strings.HasPrefix(path, program+" image ") || strings.HasPrefix(path, program+" gateway image ")
}
