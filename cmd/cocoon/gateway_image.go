package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/oci"
	"cocoon/image/pipeline"
)

// gatewayImageResult says what the container image is.
type gatewayImageResult struct {
	Schema string `json:"schema"`
	File   string `json:"file"`
	Tag    string `json:"tag"`
	// Digest is the manifest's, which registries call the image by.
	Digest       string `json:"digest"`
	SizeBytes    int64  `json:"size_bytes"`
	Program      string `json:"program_sha256"`
	Toolchain    string `json:"toolchain"`
	Certificates string `json:"certificates"`
}

// Text implements cli.Document.
func (r gatewayImageResult) Text(w io.Writer) error {
	return cli.Table(w, [][]string{
		{"file", r.File}, {"image", r.Tag}, {"digest", r.Digest}, {"bytes", cli.Count(r.SizeBytes)}, {"program", r.Program}, {"certificates", r.Certificates},
	})
}

func newGatewayImageCmd(a *app) *cobra.Command {
	var from []string
	var offline bool
	cmd := &cobra.Command{
		Use:   "image FILE",
		Short: "Build the gateway's container image into an archive that every engine loads",
		Long: "Compiles the program with the pinned toolchain, and writes it with TLS certificates and nothing\n" +
			"else into an OCI archive. No container engine is needed. The same checkout gives the same bytes.\n\n" +
			"In the container the gateway runs as user 65532, reads /etc/cocoon/gateway.json (the flags of\n" +
			"\"cocoon gateway run\", with _ for -), answers on port 10000, which needs \"keys\", and keeps its\n" +
			"state in /var/lib/cocoon.",
		Example: "  cocoon gateway image gateway.tar\n" +
			"  docker load -i gateway.tar\n" +
			"  skopeo copy oci-archive:gateway.tar docker://registry.example/cocoon-gateway:1",
		Args: args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.buildGatewayImage(cmd.Context(), args[0], fetch.Options{From: from, Offline: offline})
		},
	}
	cmd.Flags().StringSliceVar(&from, "from", nil, "folder or URL with exported inputs to ask first")
	cmd.Flags().BoolVar(&offline, "offline", false, "use no network")
	return cmd
}

func (a *app) buildGatewayImage(ctx context.Context, file string, o fetch.Options) error {
	opts, err := a.options()
	if err != nil {
		return err
	}
	locked, err := lock.Load(pipeline.LockPath(opts.Root))
	if err != nil {
		return err
	}
	store, err := fetch.Open(filepath.Join(opts.CacheDir, "inputs"))
	if err != nil {
		return err
	}
	spec := oci.GatewaySpec{Root: opts.Root, Lock: locked, Store: store, Fetch: o, CacheDir: opts.CacheDir, Version: buildOf().Version}
	if a.dryRun {
		return a.printer.Result(gatewayImageResult{Schema: gatewayImageSchema, File: file, Tag: spec.Tag(), Toolchain: "go" + locked.Go})
	}
	g, err := oci.BuildGateway(ctx, spec)
	if err != nil {
		return err
	}
	digest, err := g.Image.Digest()
	if err != nil {
		return err
	}
	size, err := writeImage(file, g, spec.Tag())
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return a.printer.Result(gatewayImageResult{
		Schema: gatewayImageSchema, File: file, Tag: spec.Tag(), Digest: digest.String(), SizeBytes: size, Program: g.Program,
		Toolchain: "go" + locked.Go, Certificates: g.Certificates,
	})
}

const gatewayImageSchema = "cocoon.gateway.image/1"

// writeImage writes the archive; the file appears whole or not at all.
func writeImage(file string, g *oci.Gateway, tag string) (size int64, err error) {
	out, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o644))
	if err != nil {
		return 0, err
	}
	defer out.Cleanup() //nolint:errcheck // nothing is left to do
	if err := g.Write(out, tag); err != nil {
		return 0, err
	}
	st, err := out.Stat()
	return st.Size(), errors.Join(err, out.CloseAtomicallyReplace())
}
