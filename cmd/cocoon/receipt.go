package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/gateway/receipts"
)

// newReceiptCmd is the noun `receipt`.
func newReceiptCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "receipt",
		Short:   "List, show and verify receipts of requests",
		GroupID: groupCheck,
	}
	cmd.AddCommand(newReceiptLsCmd(a), newReceiptShowCmd(a), newReceiptVerifyCmd(a))
	return cmd
}

// openReceipts opens the folder of a gateway's receipts, which must be there.
func (a *app) openReceipts(dir string) (*receipts.Store, error) {
	if dir == "" {
		var err error
		if dir, err = a.stateDir("receipts", "--receipts DIR"); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("no receipts: %w", err), "name the gateway's folder with --receipts DIR")
	}
	return receipts.Read(dir)
}

// receiptLsResult lists receipts, oldest first.
type receiptLsResult struct {
	Schema   string            `json:"schema"`
	Receipts []receipts.Record `json:"receipts"`
	Damaged  int               `json:"damaged_lines"`
}

// Text implements cli.Document.
func (r receiptLsResult) Text(w io.Writer) error {
	rows := append(make([][]string, 0, 1+len(r.Receipts)), []string{"TIME", "ID", "MODEL", "TOKENS", "NANOTON", "VERDICT"})
	for _, v := range r.Receipts {
		rows = append(rows, []string{
			v.Time.UTC().Format(time.RFC3339), v.ID[:min(len(v.ID), 16)], strconv.Quote(v.Model), strconv.FormatInt(v.Tokens, 10),
			strconv.FormatUint(v.Cost, 10), v.Class,
		})
	}
	return cli.Table(w, rows)
}

func newReceiptLsCmd(a *app) *cobra.Command {
	var dir string
	var bad bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the receipts that a gateway keeps, oldest first",
		Long: "With -o jsonl every receipt is a line of its own, as \"cocoon receipt show\" has it: the form for\n" +
			"export, however many there are.",
		Example: "  cocoon receipt ls\n  cocoon receipt ls --bad -o jsonl",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			store, err := a.openReceipts(dir)
			if err != nil {
				return err
			}
			_, _, damaged := store.Size()
			if a.format == cli.JSONL {
				return a.exportReceipts(store, bad, damaged)
			}
			out := receiptLsResult{Schema: "cocoon.receipt.ls/1", Receipts: []receipts.Record{}, Damaged: damaged}
			for r, err := range store.All() {
				if err != nil {
					return err
				}
				if !bad || !r.OK() {
					out.Receipts = append(out.Receipts, r)
				}
			}
			return a.printer.Result(out)
		},
	}
	cmd.Flags().StringVar(&dir, "receipts", "", "folder of the gateway's receipts (default: in the user's state folder)")
	cmd.Flags().BoolVar(&bad, "bad", false, "only receipts that are not good")
	return cmd
}

// exportReceipts prints receipts one by one, so that any number of them fits.
func (a *app) exportReceipts(store *receipts.Store, bad bool, damaged int) error {
	for r, err := range store.All() {
		if err != nil {
			return err
		}
		if bad && r.OK() {
			continue
		}
		if err := a.printer.Result(receiptShowResult{receiptShowSchema, r}); err != nil {
			return err
		}
	}
	if damaged > 0 {
		_, err := fmt.Fprintf(a.stderr, "%d damaged lines of the store were left out\n", damaged)
		return err
	}
	return nil
}

const receiptShowSchema = "cocoon.receipt.show/1"

// receiptShowResult is one receipt.
type receiptShowResult struct {
	Schema string `json:"schema"`
	receipts.Record
}

// Text implements cli.Document: the document as it was signed.
func (r receiptShowResult) Text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s\n", r.Receipt)
	return err
}

func newReceiptShowCmd(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Print one receipt as it was signed; ID is a receipt id or a chat id",
		Example: "  cocoon receipt show 5f2c... > receipt.json",
		Args:    args(1, 1, "ID"),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := a.openReceipts(dir)
			if err != nil {
				return err
			}
			r, ok, err := store.Find(args[0])
			if err != nil {
				return err
			}
			if !ok {
				return cli.Tag(cli.KindUsage, fmt.Errorf("no receipt has the id %q", args[0]), "list them with \"cocoon receipt ls -o json\"")
			}
			return a.printer.Result(receiptShowResult{receiptShowSchema, r})
		},
	}
	cmd.Flags().StringVar(&dir, "receipts", "", "folder of the gateway's receipts (default: in the user's state folder)")
	return cmd
}
