package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/registry"
	"cocoon/host/publish"
)

const (
	rootShowSchema    = "cocoon.root.show/1"
	rootDiffSchema    = "cocoon.root.diff/1"
	rootPublishSchema = "cocoon.root.publish/1"
)

// newRootContractCmd is the noun `root`: the contract that says what a network allows.
func newRootContractCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "root",
		Short:   "Read and change the root contract: allowed images and models, proxies, prices",
		Long:    "Read and change the root contract: allowed images and models, proxies, prices.\n\n" + networkHelp,
		GroupID: groupNetwork,
	}
	cmd.AddCommand(newRootShowCmd(a), newRootDiffCmd(a), newRootPublishCmd(a), newOrderCmd(a, rootDeploy()))
	for _, v := range rootGovern() {
		cmd.AddCommand(newOrderCmd(a, v))
	}
	return cmd
}

// rootShowResult is the document of `root show`.
type rootShowResult struct {
	Schema string `json:"schema"`
	publish.RootDoc
}

func newRootShowCmd(a *app) *cobra.Command {
	var n networkFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the root contract as of the newest proven block",
		Example: "  cocoon root show\n" +
			"  cocoon root show --global-config chain/global.json --root-contract 0:5f... -o json",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, id, err := n.read(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.printer.Result(rootShowResult{rootShowSchema, publish.NewRootDoc(root, id)})
		},
	}
	n.addRoot(cmd.Flags())
	return cmd
}

// read takes a snapshot of the root.
func (n *networkFlags) read(ctx context.Context, a *app) (*registry.Snapshot, registry.Network, error) {
	net, err := n.open(ctx, a, true)
	if err != nil {
		return nil, 0, err
	}
	defer net.Close()
	site, err := publish.View(ctx, net, a.now)
	if err == nil {
		err = site.Expect(net.expect)
	}
	if err != nil {
		return nil, 0, explained(err)
	}
	root, err := site.Root(ctx, net.root)
	if err != nil {
		return nil, 0, explained(err)
	}
	return root, site.ID, nil
}

// rootDiffResult is the document of `root diff`.
type rootDiffResult struct {
	Schema   string             `json:"schema"`
	Equal    bool               `json:"equal"`
	Contract publish.AddressDoc `json:"contract"`
	Network  string             `json:"network"`
	Block    publish.BlockDoc   `json:"block"`
	// Entries are those of the files, each present in the root or not.
	Entries []publish.EntryState `json:"entries"`
}

// Text implements cli.Document.
func (r rootDiffResult) Text(w io.Writer) error {
	rows := make([][]string, 0, 2+len(r.Entries))
	rows = append(rows, []string{"root", r.Contract.Address}, []string{"block", fmt.Sprintf("%d of %s", r.Block.Seqno, r.Block.Time)})
	for _, e := range r.Entries {
		state := "missing"
		if e.Present {
			state = "present"
		}
		rows = append(rows, []string{state, e.List + " " + e.Hash + " " + e.Name})
	}
	return cli.Table(w, rows)
}

func newRootDiffCmd(a *app) *cobra.Command {
	var n networkFlags
	cmd := &cobra.Command{
		Use:   "diff FILE...",
		Short: "Compare predicted hashes with the root contract; exit 3 if one is missing",
		Long: "Files are what \"measure predict --spec SPEC -o json\" prints, or lists of entries\n" +
			"(" + publish.EntriesSchema + ").",
		Example: "  cocoon root diff worker.json\n" +
			"  cocoon root diff worker.json proxy.json -o json",
		Args: args(1, maxPublications, "FILE..."),
		RunE: func(cmd *cobra.Command, files []string) error {
			entries, err := readEntries(files)
			if err != nil {
				return err
			}
			root, id, err := n.read(cmd.Context(), a)
			if err != nil {
				return err
			}
			r := rootDiffResult{
				Schema: rootDiffSchema, Contract: publish.NewAddressDoc(root.Root), Network: id.String(),
				Block: publish.NewBlockDoc(root.Block), Entries: publish.States(root, entries), Equal: true,
			}
			for _, e := range r.Entries {
				r.Equal = r.Equal && e.Present
			}
			if err := a.printer.Result(r); err != nil || r.Equal {
				return err
			}
			return cli.Shown(cli.KindDifference, errors.New("the root does not allow all of these hashes"), "\"cocoon root publish FILE...\" adds them")
		},
	}
	n.addRoot(cmd.Flags())
	return cmd
}

// maxPublications bounds the files of one command.
const maxPublications = 64

// readEntries reads all files; one broken file stops the command before anything is connected.
func readEntries(files []string) ([]publish.Entry, error) {
	var out []publish.Entry
	for _, name := range files {
		data, err := cli.ReadFile(name, cli.MaxSmallFile)
		if err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("reading entries: %w", err), "\"measure predict MANIFEST --spec SPEC -o json > FILE\" makes such a file")
		}
		entries, err := publish.ParseEntries(data)
		if err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", name, err), "\"measure predict MANIFEST --spec SPEC -o json > FILE\" makes such a file")
		}
		out = append(out, entries...)
	}
	return out, nil
}

// rootPublishResult is the document of `root publish`.
type rootPublishResult struct {
	Schema string `json:"schema"`
	publish.OutcomeDoc
}

func newRootPublishCmd(a *app) *cobra.Command {
	var n networkFlags
	var s signFlags
	var remove bool
	cmd := &cobra.Command{
		Use:   "publish FILE...",
		Short: "Put hashes into the root contract: rehearse, sign, send, prove",
		Long: "Reads the root with proofs, refuses hashes that are there already, and plays the messages in\n" +
			"the local executor on the proven state. Without --sign-with the messages are printed for\n" +
			"another wallet; --send signs, sends, and waits until the hashes are in proven state.\n" +
			"Where a governor owns the root, the messages are proposals.",
		Example: "  cocoon root publish worker.json\n" +
			"  cocoon root publish worker.json --sign-with owner.key --send --save receipt.json",
		Args: args(1, maxPublications, "FILE..."),
		RunE: func(cmd *cobra.Command, files []string) error {
			entries, err := readEntries(files)
			if err != nil {
				return err
			}
			return a.publishRoot(cmd.Context(), &n, &s, &publish.Job{Entries: entries, Delete: remove})
		},
	}
	n.addRoot(cmd.Flags())
	s.add(cmd.Flags())
	cmd.Flags().BoolVar(&remove, "delete", false, "take the hashes out instead")
	return cmd
}

// publishRoot runs a job and prints how far it came.
func (a *app) publishRoot(ctx context.Context, n *networkFlags, s *signFlags, job *publish.Job) error {
	signer, err := s.signer(a)
	if err != nil {
		return err
	}
	net, err := n.open(ctx, a, true)
	if err != nil {
		return err
	}
	defer net.Close()
	job.Root, job.Network, job.Signer, job.Now = net.root, net.expect, signer, a.now
	job.Send, job.Outbox = s.send && !a.dryRun, net.outbox()
	out, err := job.Run(ctx, net)
	if err != nil && !out.Reported() {
		return explained(err)
	}
	doc, docErr := out.Document()
	if docErr != nil {
		return errors.Join(err, docErr)
	}
	result := rootPublishResult{rootPublishSchema, doc}
	if printErr := errors.Join(s.saved(a, result), a.printer.Result(result)); printErr != nil || err == nil {
		return printErr
	}
	// The result shows the rehearsal that failed, or which messages were executed before one was not.
	return asShown(explained(err))
}

// asShown marks an error whose result is on stdout already.
func asShown(err error) error {
	if tagged, ok := errors.AsType[*cli.Error](err); ok {
		return cli.Shown(tagged.Kind, tagged.Err, tagged.Hints...)
	}
	return cli.Shown(cli.KindError, err)
}
