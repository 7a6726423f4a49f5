package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/registry"
	"cocoon/host/publish"
)

const auditSchema = "cocoon.measure.audit/1"

func setupAudit(fs *flag.FlagSet) action {
	var p predictFlags
	var c chainFlags
	p.register(fs)
	c.register(fs)
	return func(ctx context.Context, e *env, operands []string) error { return c.audit(ctx, e, &p, operands) }
}

// auditDoc is the document of `audit`.
type auditDoc struct {
	Schema   string             `json:"schema"`
	OK       bool               `json:"ok"`
	Contract publish.AddressDoc `json:"contract"`
	Network  string             `json:"network"`
	Block    publish.BlockDoc   `json:"block"`
	// Complete tells that the history begins with the root's deployment.
	Complete bool         `json:"complete"`
	Events   []auditEvent `json:"events"`
	Hashes   []auditHash  `json:"hashes"`
	// Missing are hashes that the history leads to and the root lacks; Surplus the other way round.
	Missing []listedHash `json:"missing"`
	Surplus []listedHash `json:"surplus"`
}

type listedHash struct {
	List string `json:"list"`
	Hash string `json:"hash"`
}

type auditEvent struct {
	Time        string `json:"time"`
	LT          uint64 `json:"lt"`
	Transaction string `json:"transaction"`
	From        string `json:"from"`
	Op          string `json:"op"`
	Hash        string `json:"hash,omitempty"`
	ExitCode    int32  `json:"exit_code"`
	Applied     bool   `json:"applied"`
}

// auditHash is a hash on chain, with the name of the manifest or model that it is of.
type auditHash struct {
	listedHash

	Name     string `json:"name,omitempty"`
	Manifest string `json:"manifest_sha256,omitempty"`
	Known    bool   `json:"known"`
}

// audit replays the history and looks for the hashes in what the operands say.
func (f *chainFlags) audit(ctx context.Context, e *env, p *predictFlags, operands []string) error {
	entries, err := f.entries(ctx, e, p, operands)
	if err != nil {
		return err
	}
	net, err := f.open(ctx, e)
	if err != nil {
		return err
	}
	defer net.Close()
	at, err := publish.View(ctx, net, e.now)
	if err == nil {
		err = at.Expect(net.expect)
	}
	if err != nil {
		return explained(err)
	}
	replay, err := registry.Audit(ctx, net, net.root)
	if err == nil {
		err = replay.Now.CheckNetwork(at.ID)
	}
	if err != nil {
		return explained(err)
	}
	doc := newAuditDoc(replay, at.ID, entries)
	doc.OK = replay.Agrees() && (len(entries) == 0 || doc.allKnown())
	if err := e.result(doc); err != nil || doc.OK {
		return err
	}
	return cli.Tag(cli.KindDifference, doc.difference())
}

func newAuditDoc(r *registry.Replay, n registry.Network, entries []publish.Entry) *auditDoc {
	d := &auditDoc{
		Schema: auditSchema, Contract: publish.NewAddressDoc(r.Now.Root), Network: n.String(), Block: publish.NewBlockDoc(r.Now.Block),
		Complete: r.Complete, Events: make([]auditEvent, len(r.Events)), Hashes: []auditHash{}, Missing: listed(r.Missing), Surplus: listed(r.Surplus),
	}
	for i, x := range r.Events {
		d.Events[i] = auditEvent{
			Time: x.At.UTC().Format(time.RFC3339), LT: x.LT, Transaction: x.Hash.String(), From: x.From.String(),
			Op: x.Op.String(), ExitCode: x.Exit, Applied: x.Applied,
		}
		if m, ok := x.Message.(*bind.RootHash); ok {
			d.Events[i].Hash = hex.EncodeToString(m.Hash[:])
		}
	}
	for _, l := range registry.Lists() {
		for _, h := range r.Now.Hashes(l) {
			d.Hashes = append(d.Hashes, known(l, h, entries))
		}
	}
	return d
}

func known(l registry.List, h bind.Hash, entries []publish.Entry) auditHash {
	out := auditHash{listedHash: listedHash{l.String(), hex.EncodeToString(h[:])}}
	for _, x := range entries {
		if x.List == l && x.Hash == h {
			out.Known, out.Name = true, x.Name
			if x.Manifest != (bind.Hash{}) {
				out.Manifest = hex.EncodeToString(x.Manifest[:])
			}
		}
	}
	return out
}

func listed(from []registry.Listed) []listedHash {
	out := make([]listedHash, len(from))
	for i, x := range from {
		out[i] = listedHash{x.List.String(), hex.EncodeToString(x.Hash[:])}
	}
	return out
}

func (d *auditDoc) allKnown() bool {
	for _, h := range d.Hashes {
		if !h.Known {
			return false
		}
	}
	return true
}

// difference says the first thing that is wrong.
func (d *auditDoc) difference() error {
	switch {
	case len(d.Missing) > 0:
		return fmt.Errorf("the history adds %s hash %s, and the root does not have it", d.Missing[0].List, d.Missing[0].Hash)
	case len(d.Surplus) > 0 && d.Complete:
		return fmt.Errorf("the root has %s hash %s, and nothing in its history adds it", d.Surplus[0].List, d.Surplus[0].Hash)
	case !d.Complete:
		return errors.New("the history does not begin with the root's deployment: nothing says where its first hashes come from; ask an archive liteserver")
	}
	for _, h := range d.Hashes {
		if !h.Known {
			return fmt.Errorf("the root has %s hash %s, and none of the manifests and models has it", h.List, h.Hash)
		}
	}
	return nil
}

// Text implements cli.Document.
func (d *auditDoc) Text(w io.Writer) error {
	rows := make([][]string, 0, 3+len(d.Events)+len(d.Hashes))
	rows = append(rows,
		[]string{"root", d.Contract.Address},
		[]string{"network", fmt.Sprintf("%s, block %d of %s", d.Network, d.Block.Seqno, d.Block.Time)},
		[]string{"history", fmt.Sprintf("%d operations, complete: %t", len(d.Events), d.Complete)},
	)
	for _, e := range d.Events {
		outcome := fmt.Sprintf("refused, exit %d", e.ExitCode)
		if e.Applied {
			outcome = "applied"
		}
		rows = append(rows, []string{"  " + e.Time, e.Op + " " + e.Hash + " from " + e.From + ": " + outcome})
	}
	for _, h := range d.Hashes {
		name := "unknown"
		if h.Known {
			name = h.Name
		}
		rows = append(rows, []string{h.List, h.Hash + " " + name})
	}
	for _, h := range d.Missing {
		rows = append(rows, []string{"missing", h.List + " " + h.Hash})
	}
	for _, h := range d.Surplus {
		rows = append(rows, []string{"unexplained", h.List + " " + h.Hash})
	}
	return cli.Table(w, rows)
}
