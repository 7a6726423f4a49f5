package publish

import (
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"text/tabwriter"
)

// table writes rows in aligned columns, two spaces apart.
func table(w io.Writer, rows [][2]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if _, err := fmt.Fprintf(tw, "%s\t%s\n", r[0], r[1]); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// AmountText writes a decimal amount of nanoTON for people.
func AmountText(nano string) string {
	n, ok := new(big.Int).SetString(nano, 10)
	if !ok {
		return nano
	}
	return TON(n)
}

func (b BlockDoc) text() string { return fmt.Sprintf("%d of %s", b.Seqno, b.Time) }

// Text writes the root for people.
func (d RootDoc) Text(w io.Writer) error {
	p := d.Params
	rows := [][2]string{
		{"root", d.Contract.Address},
		{"network", d.Network + ", block " + d.Block.text()},
		{"owner", d.Owner.Address},
		{"code", d.Code + ", " + d.CodeHash},
		{"version", strconv.FormatUint(uint64(d.Version), 10)},
		{"parameters", fmt.Sprintf("version %d, structure %d, unique id %d, test %t", p.ParamsVersion, p.StructVersion, p.UniqueID, p.IsTest)},
		{"price", fmt.Sprintf("%s nanoTON per adjusted token, %s for the worker", p.PricePerToken, p.WorkerFeePerToken)},
		{"stakes", fmt.Sprintf("proxy %s, client %s", AmountText(p.MinProxyStake), AmountText(p.MinClientStake))},
	}
	for _, list := range []struct {
		name   string
		hashes []string
	}{{"proxy image", d.ProxyHashes}, {"worker image", d.WorkerHashes}, {"model", d.ModelHashes}} {
		for _, h := range list.hashes {
			rows = append(rows, [2]string{list.name, h})
		}
	}
	for _, x := range d.Proxies {
		// The text is a stranger's: quoted, so that it cannot move the terminal's cursor.
		rows = append(rows, [2]string{"proxy " + strconv.FormatUint(uint64(x.Seqno), 10), strconv.Quote(x.Addr)})
	}
	return table(w, rows)
}

// Text writes the rehearsal for people: one line a transaction.
func (d *RehearsalDoc) Text(w io.Writer) error {
	if d == nil {
		return nil
	}
	rows := [][2]string{{"rehearsal", fmt.Sprintf("gas %d, fees %s", d.Gas, AmountText(d.Fees))}}
	for _, s := range d.Steps {
		exit := "no code"
		if s.Exit != nil {
			exit = fmt.Sprintf("exit %d", *s.Exit)
		}
		rows = append(rows, [2]string{"  " + s.Op, fmt.Sprintf("%s  %s  gas %d  to %s", AmountText(s.Value), exit, s.Gas, s.To)})
	}
	return table(w, rows)
}

// Text writes the outcome for people.
func (d OutcomeDoc) Text(w io.Writer) error {
	rows := [][2]string{
		{"root", d.Contract.Address}, {"network", d.Network + ", block " + d.Block.text()}, {"sender", d.Sender.Address},
	}
	for _, c := range d.Changes {
		rows = append(rows, [2]string{c.Action, strings.TrimSpace(c.List + " " + c.Hash + " " + c.Name)})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	if err := d.Rehearsal.Text(w); err != nil {
		return err
	}
	rows = rows[:0]
	for _, p := range d.Proposals {
		rows = append(rows, [2]string{
			"proposal " + strconv.FormatUint(p.ID, 10),
			fmt.Sprintf("%d of %d approvals, not before %s, expires %s", p.Approvals, p.Needed, p.NotBefore, p.Expires),
		})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	if d.Receipt != nil {
		return d.Receipt.Text(w)
	}
	return MessagesText(w, d.Messages)
}

// MessagesText writes unsigned messages for people.
func MessagesText(w io.Writer, messages []MessageDoc) error {
	if len(messages) == 0 {
		return nil
	}
	rows := [][2]string{{"unsigned", "nothing was sent; give --sign-with and --send, or open in a wallet:"}}
	for _, m := range messages {
		link := m.Link
		if link == "" {
			link = "no link carries a deployment: take body and state_init from -o json"
		}
		rows = append(rows, [2]string{"  " + AmountText(m.Amount), link})
	}
	return table(w, rows)
}

// Text writes the receipt for people.
func (d *ReceiptDoc) Text(w io.Writer) error {
	rows := make([][2]string, 0, len(d.Orders)+1)
	for _, o := range d.Orders {
		rows = append(rows, [2]string{"executed", fmt.Sprintf("%s  exit %d  transaction %s", o.What, o.ExitCode, o.Transaction)})
	}
	if d.Valid {
		rows = append(rows, [2]string{"proven", "in block " + d.Block.text()})
	}
	return table(w, rows)
}
