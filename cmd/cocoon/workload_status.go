package main

import (
	"encoding/hex"
	"io"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/host/publish"
)

// workloadDoc is the document of `workload status`; amounts in nanoTON, as of the block's time.
type workloadDoc struct {
	contractDoc

	State     string              `json:"state"`
	User      publish.AddressDoc  `json:"user"`
	Farmer    *publish.AddressDoc `json:"farmer,omitempty"`
	NodeKey   string              `json:"node_key"`
	Workload  string              `json:"workload_hash"`
	SizeGiB   uint32              `json:"size_gib"`
	Farm      uint64              `json:"farm"`
	Hourly    string              `json:"hourly"`
	Deposit   string              `json:"deposit"`
	Paid      string              `json:"paid"`
	Earned    string              `json:"earned"`
	Missing   string              `json:"missing"`
	StartedAt string              `json:"started_at,omitempty"`
	ExpiresAt string              `json:"expires_at,omitempty"`
	StoppedAt string              `json:"stopped_at,omitempty"`
	Deadline  string              `json:"deadline,omitempty"`
}

// Text implements cli.Document.
func (d *workloadDoc) Text(w io.Writer) error {
	rows := append(d.rows(), [][]string{
		{"state", d.State},
		{"user", d.User.Address},
		{"node key", d.NodeKey},
		{"workload", d.Workload},
		{"hourly", tonText(d.Hourly)},
		{"deposit", tonText(d.Deposit)},
		{"earned", tonText(d.Earned)},
		{"paid", tonText(d.Paid)},
		{"missing", tonText(d.Missing)},
	}...)
	for _, r := range [][]string{{"started", d.StartedAt}, {"expires", d.ExpiresAt}, {"stopped", d.StoppedAt}, {"deadline", d.Deadline}} {
		if r[1] != "" {
			rows = append(rows, r)
		}
	}
	return cli.Table(w, rows)
}

const workloadSchema = "cocoon.workload.status/1"

func newWorkloadStatusCmd(a *app) *cobra.Command {
	return newReadCmd(a, showVerb{"workload", "status", "an agreement"}, func(at *chain.Account, d contractDoc, now time.Time) (cli.Document, error) {
		return newWorkloadDoc(at, d, now)
	})
}

// isAgreementState tells whether a word names a state.
func isAgreementState(word string) bool {
	for s := bind.AgreementCreated; s <= bind.AgreementClosed; s++ {
		if s.String() == word {
			return true
		}
	}
	return false
}

// newWorkloadDoc describes an agreement at a time.
func newWorkloadDoc(at *chain.Account, d contractDoc, now time.Time) (*workloadDoc, error) {
	c := &orderCase{target: at}
	s, err := c.agreement()
	if err != nil {
		return nil, err
	}
	t := uint32(now.Unix()) //nolint:gosec // TON's times are 32 bits wide
	key := s.Key()
	out := &workloadDoc{
		contractDoc: d, State: s.StateAt(t).String(), User: publish.NewAddressDoc(s.Terms.User), NodeKey: hex.EncodeToString(key[:]),
		Workload: hex.EncodeToString(s.Terms.WorkloadHash[:]), SizeGiB: s.Terms.SizeGiB, Farm: s.Terms.Farm, Hourly: nanoText(s.Hourly),
		Deposit: nanoText(s.Deposit), Paid: nanoText(s.Paid), Earned: nanoText(s.Earned(t)), Missing: nanoText(s.Missing()),
		StartedAt: unixText(uint64(s.StartedAt)), StoppedAt: unixText(uint64(s.StoppedAt)),
	}
	if s.Price != nil {
		farmer := publish.NewAddressDoc(s.Price.Farmer)
		out.Farmer = &farmer
	}
	if expires, ok := s.ExpiresAt(); ok && s.State == bind.AgreementActive {
		out.ExpiresAt = unixText(expires)
	}
	if deadline, ok := s.Deadline(); ok {
		out.Deadline = unixText(deadline)
	}
	return out, nil
}
