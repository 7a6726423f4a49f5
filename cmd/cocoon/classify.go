package main

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

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
	hint string
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// rules is the one place where errors of the rooms get exit codes and hints.
func rules() []rule {
	return []rule{
		{is(context.Canceled), cli.KindInterrupted, "finished steps are kept: run the same command again to go on"},
		{is(context.DeadlineExceeded), cli.KindTimeout, "finished steps are kept: run the same command again to go on"},
		{is(pipeline.ErrUsage), cli.KindUsage, ""},
		{is(pipeline.ErrNoGo), cli.KindPrerequisite, "install the Go version that mkosi/image.lock names and put it in PATH"},
		{as[*lock.Mismatch], cli.KindPrerequisite, ""},
		{as[*fetch.MissingError], cli.KindPrerequisite, ""},
		{is(syscall.ENOSPC), cli.KindPrerequisite, "free some space, or name another disk with --cache DIR and --out DIR"},
		{as[*manifest.MismatchError], cli.KindDifference, ""},
		{is(fs.ErrPermission), cli.KindPrerequisite, "no step needs root: name folders of yours with --cache DIR and --out DIR"},
	}
}

// classify tags an error that no verb has tagged. A cancelled command is an interrupt, whatever its parts said.
func classify(ctx context.Context, err error) error {
	var tagged *cli.Error
	if err == nil || errors.As(err, &tagged) {
		return err
	}
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	for _, r := range rules() {
		if !r.fits(err) {
			continue
		}
		if r.hint == "" {
			return cli.Tag(r.kind, err)
		}
		return cli.Tag(r.kind, err, r.hint)
	}
	return err
}
