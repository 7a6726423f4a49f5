package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/manifest"
)

// lsResult lists built images.
type lsResult struct {
	Schema string    `json:"schema"`
	Out    string    `json:"out"`
	Images []lsEntry `json:"images"`
}

// lsEntry is one image, or a folder that is none and why.
type lsEntry struct {
	Dir       string `json:"dir"`
	Name      string `json:"name,omitempty"`
	Variant   string `json:"variant,omitempty"`
	SizeBytes int64  `json:"size_bytes,omitempty"` // of the boot form: UKI and layers
	UKI       string `json:"uki_sha256,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Text implements cli.Document.
func (r lsResult) Text(w io.Writer) error {
	rows := [][]string{{"image", "variant", "bytes", "uki sha256"}}
	for _, e := range r.Images {
		if e.Error != "" {
			rows = append(rows, []string{filepath.Base(e.Dir), "damaged", "", e.Error})
			continue
		}
		rows = append(rows, []string{e.Name, e.Variant, cli.Count(e.SizeBytes), e.UKI})
	}
	return cli.Table(w, rows)
}

func newImageLsCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the images below --out",
		Example: "  cocoon image ls\n  cocoon image ls -o json",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			out, err := listImages(o.OutDir)
			if err != nil {
				return err
			}
			return a.printer.Result(out)
		},
	}
}

func listImages(dir string) (lsResult, error) {
	out := lsResult{Schema: "cocoon.image.ls/1", Out: dir, Images: []lsEntry{}}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("listing images: %w", err)
	}
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if !e.IsDir() || !isFile(filepath.Join(at, manifest.FileName)) {
			continue
		}
		m, err := manifest.Load(at)
		if err != nil {
			out.Images = append(out.Images, lsEntry{Dir: at, Error: err.Error()})
			continue
		}
		row := lsEntry{Dir: at, Name: m.Image.Name, Variant: string(m.Image.Variant)}
		for _, art := range m.Artefacts {
			switch art.Kind {
			case manifest.KindUKI:
				row.UKI = art.SHA256
				row.SizeBytes += art.Size
			case manifest.KindLayer:
				row.SizeBytes += art.Size
			default:
			}
		}
		out.Images = append(out.Images, row)
	}
	return out, nil
}
