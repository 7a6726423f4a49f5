package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/model"
)

// modelResult is a finished model volume.
type modelResult struct {
	Schema   string `json:"schema"`
	Identity string `json:"identity"`
	// ArchiveIdentity is what the same files are called in the form tar, when they came from an archive.
	ArchiveIdentity string `json:"archive_identity,omitempty"`

	Format      string `json:"format"`
	Volume      string `json:"volume"`
	Description string `json:"description"`
	RootHash    string `json:"root_hash"`
	Files       int    `json:"files"`
	SizeBytes   int64  `json:"size_bytes"`
}

// Text implements cli.Document.
func (r modelResult) Text(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s\n%s: %d files, %s bytes\n", r.Identity, r.Volume, r.Files, cli.Count(r.SizeBytes)); err != nil {
		return err
	}
	if r.ArchiveIdentity == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "the archive is %s\n", r.ArchiveIdentity)
	return err
}

// modelFlags are the flags of model.
type modelFlags struct {
	from, commit, source, format string
	exclude                      []string
	joined                       bool
}

func newImageModelCmd(a *app) *cobra.Command {
	var f modelFlags
	cmd := &cobra.Command{
		Use:   "model NAME --from DIR|TAR --commit HEX",
		Short: "Make a model volume whose root hash is its identity",
		Long: "NAME is the model's name at its hub. The volume and its description go to --out/models. The form\n" +
			"erofs is one file; tar is the form of models that are listed already: an archive and a hash file,\n" +
			"or with --joined one file for the one disk that our guest opens. Both tar forms have the same\n" +
			"root hash.",
		Example: "  cocoon image model Acme/tiny --from files --commit 0123456789abcdef0123456789abcdef01234567\n" +
			"  cocoon image model Acme/tiny --from model.tar --commit 0123456789abcdef0123456789abcdef01234567",
		Args: args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.from == "" || f.commit == "" {
				return cli.Tag(cli.KindUsage, errors.New("--from and --commit are needed"), "usage: "+cmd.UseLine())
			}
			out, err := a.buildModel(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			return a.printer.Result(out)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "folder with the model's files, or an archive of the form tar")
	fl.StringVar(&f.commit, "commit", "", "commit of the hub's repository, 40 hex digits")
	fl.StringVar(&f.source, "source", "", "where the files came from, for people")
	fl.StringVar(&f.format, "format", "erofs", "erofs or tar")
	fl.BoolVar(&f.joined, "joined", false, "with --format tar: hash area behind the archive, not beside it")
	fl.StringSliceVar(&f.exclude, "exclude", nil, "top-level names to leave out")
	return cmd
}

func (a *app) buildModel(ctx context.Context, name string, f modelFlags) (*modelResult, error) {
	dir := filepath.Join(a.out, "models")
	if a.out == "" {
		root, err := a.checkout()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(root, "out", "models")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	volume := filepath.Join(dir, filepath.Base(name)+"-"+f.commit[:min(12, len(f.commit))]+"."+f.format)
	d, archive, err := volumeFrom(ctx, name, volume, f)
	if err != nil {
		return nil, err
	}
	text, err := d.Encode()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(volume+".json", text, 0o644); err != nil {
		return nil, fmt.Errorf("writing description: %w", err)
	}
	st, err := os.Stat(volume)
	if err != nil {
		return nil, err
	}
	return &modelResult{
		Schema: "cocoon.image.model-build/1", Identity: d.Identity, ArchiveIdentity: archive, Format: string(d.Format), Volume: volume,
		Description: volume + ".json", RootHash: d.RootHash, Files: len(d.Files), SizeBytes: st.Size(),
	}, nil
}

// volumeFrom makes the volume; archive is the identity of the archive that the files came from, if any.
func volumeFrom(ctx context.Context, name, volume string, f modelFlags) (d *model.Description, archive string, err error) {
	o := model.Options{Name: name, Commit: f.commit, Source: f.source, Excluded: f.exclude}
	switch {
	case f.joined && f.format != "tar":
		err = cli.Usagef("--joined goes with --format tar")
	case f.format == "erofs" && isDir(f.from):
		d, err = model.Build(ctx, f.from, volume, o)
	case f.format == "erofs":
		var tar *model.Description
		if d, tar, err = model.FromTar(ctx, f.from, volume, o); err == nil {
			archive = tar.Identity
		}
	case f.format == "tar" && isDir(f.from):
		hashes := volume + ".verity"
		if f.joined {
			hashes = ""
		}
		d, err = model.BuildTar(ctx, f.from, volume, hashes, o)
	case f.format == "tar":
		err = cli.Usagef("--format tar reads a folder; %s is none", f.from)
	default:
		err = cli.Usagef("--format %q is neither erofs nor tar", f.format)
	}
	return d, archive, err
}
