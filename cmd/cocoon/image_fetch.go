package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
)

// fetchResult says what the store holds now.
type fetchResult struct {
	Schema     string `json:"schema"`
	Store      string `json:"store"`
	Artefacts  int    `json:"artefacts"`
	SizeBytes  int64  `json:"size_bytes"`
	Fetched    int    `json:"fetched"`
	ExportedTo string `json:"exported_to,omitempty"`
}

// Text implements cli.Document.
func (r fetchResult) Text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s: %d artefacts, %s bytes, %d fetched\n", r.Store, r.Artefacts, cli.Count(r.SizeBytes), r.Fetched)
	if err == nil && r.ExportedTo != "" {
		_, err = fmt.Fprintf(w, "exported to %s\n", r.ExportedTo)
	}
	return err
}

func newImageFetchCmd(a *app) *cobra.Command {
	var export, variant string
	var from []string
	var offline, all bool
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch the locked inputs of a variant into the store; the hash decides, any source may serve",
		Example: "  cocoon image fetch --all\n" +
			"  PIP_INDEX_URL=https://index.example/simple cocoon image fetch --variant gpu\n" +
			"  cocoon image fetch --export /srv/cocoon-inputs",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			o.From, o.Offline, o.Build = from, offline || a.dryRun, variant
			count := &fetchCounter{reporter: a.reporter, seen: map[string]bool{}}
			store, arts, err := pipeline.FetchAll(cmd.Context(), o, all, count.event)
			if err != nil {
				return err
			}
			out := fetchResult{Schema: "cocoon.image.fetch/1", Store: store.Dir(), Artefacts: len(arts), Fetched: count.fetched}
			for _, art := range arts {
				out.SizeBytes += art.Size
			}
			if export != "" && !a.dryRun {
				if err := store.Export(cmd.Context(), export, arts); err != nil {
					return err
				}
				out.ExportedTo = export
			}
			return a.printer.Result(out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&export, "export", "", "write all inputs to this folder, for publication or for --from elsewhere")
	f.StringSliceVar(&from, "from", nil, "folder or URL with exported inputs to ask first")
	f.BoolVar(&offline, "offline", false, "use no network")
	f.StringVar(&variant, "variant", "cpu", "set of images whose inputs are fetched: cpu or gpu")
	f.BoolVar(&all, "all", false, "also the groups that only checks on the host use")
	return cmd
}

// fetchCounter reports each fetched file once and counts them.
type fetchCounter struct {
	reporter cli.Reporter

	mu      sync.Mutex
	seen    map[string]bool
	fetched int
}

func (c *fetchCounter) event(e fetch.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (e.Phase == fetch.Loading || e.Phase == fetch.Done) && !c.seen[e.Artefact.SHA256] {
		c.seen[e.Artefact.SHA256] = true
		c.reporter.Report(started(e.Artefact))
	}
	switch e.Phase {
	case fetch.Loading:
		c.reporter.Report(cli.Event{Kind: cli.EventProgress, Name: e.Artefact.Name, DoneBytes: e.Bytes, TotalBytes: e.Artefact.Size})
	case fetch.Done:
		c.fetched++
		c.reporter.Report(cli.Event{
			Kind: cli.EventDone, Name: e.Artefact.Name, Detail: e.Artefact.Version + " from " + e.Source, DoneBytes: e.Bytes,
		})
	case fetch.Cached:
	case fetch.NextTry, fetch.Replaced:
		c.reporter.Report(cli.Event{Kind: cli.EventNote, Name: e.Artefact.Name, Detail: e.Source + ": " + e.Err.Error()})
	}
}

func started(art lock.Artefact) cli.Event {
	return cli.Event{Kind: cli.EventStart, Name: art.Name, TotalBytes: art.Size}
}
