package main

import (
	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/pipeline"
)

// newImageCmd is the noun `image`; each verb has a file of its own.
func newImageCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "image",
		Short:   "Build reproducible images, check and compare them",
		GroupID: groupBuild,
	}
	cmd.AddCommand(
		newImageLockCmd(a), newImageFetchCmd(a), newImageBuildCmd(a), newImageVerifyCmd(a), newImageInspectCmd(a),
		newImageDiffCmd(a), newImageLsCmd(a), newImageRmCmd(a), newImageModelCmd(a), newImageQEMUCmd(a),
	)
	return cmd
}

// report adapts the pipeline's events to the reporters of the commands.
func (a *app) report(e pipeline.Event) {
	a.reporter.Report(cli.Event{
		Kind: cli.EventKind(e.Kind), Index: e.Index, Total: e.Total, Name: e.Step, Detail: e.Detail, Cached: e.Cached,
		DurationMS: e.Duration.Milliseconds(), DoneBytes: e.Done, TotalBytes: e.Size,
	})
}
