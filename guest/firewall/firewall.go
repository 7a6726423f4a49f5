// Package firewall is the guest's packet filter: nothing from outside reaches a socket unless a rule here lets it
// (image.md section 15, default-deny inbound).
//
// It owns one nf_tables table of family inet, so one set of rules covers IPv4 and IPv6: input and forward drop, output
// accepts. Let in are the loopback, what connection tracking calls established or related, answers of a DHCPv4 server,
// IPv6 neighbour discovery, and the ports that the service stage opens. It trusts the kernel's rule engine and reads
// nothing from outside: every rule is a constant of this package but the opened port. It filters IP alone: vsock and
// packet sockets pass it by, whoever opens one answers for it. A Firewall is used by one goroutine at a time. It
// refuses to open a port before the rules are applied, port 0, and more ports than a guest has a use for.
package firewall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

const (
	// tableName names our only table; an existing one of the name is replaced.
	tableName = "cocoon"
	// maxPorts bounds the opened ports: the router has one, the health agent may have another.
	maxPorts = 4
)

// Names of the chains, each after the hook it sits on.
const (
	ChainInput   = "input"
	ChainForward = "forward"
	ChainOutput  = "output"
)

var (
	// ErrNotApplied means that a port was to be opened before Apply.
	ErrNotApplied = errors.New("the firewall is not applied")
	// ErrPort means that the port cannot be opened.
	ErrPort = errors.New("port cannot be opened")
)

// Firewall is the table in PID 1's network namespace.
type Firewall struct {
	dial    func() (*nftables.Conn, error)
	applied bool
	open    []uint16
}

// New makes a Firewall that is not applied yet. dial connects to the kernel; nil means the kernel's netlink.
func New(dial func() (*nftables.Conn, error)) *Firewall {
	if dial == nil {
		dial = func() (*nftables.Conn, error) { return nftables.New() }
	}
	return &Firewall{dial: dial}
}

// Apply replaces the table by the rules of Rules in one transaction: either all of them hold or none does.
func (f *Firewall) Apply() error {
	conn, err := f.dial()
	if err != nil {
		return fmt.Errorf("connecting to nf_tables: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	conn.AddTable(table) // the kernel refuses to delete a table that does not exist
	conn.DelTable(table)
	conn.AddTable(table)
	for _, c := range chains() {
		conn.AddChain(c.in(table))
	}
	for _, r := range Rules() {
		conn.AddRule(r.in(table))
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("loading firewall rules: %w; the image needs the modules nf_tables and nft_ct", err)
	}
	f.applied, f.open = true, nil
	return nil
}

// Open lets new TCP connections to one port in. Opening an open port again changes nothing.
func (f *Firewall) Open(port uint16) error {
	switch {
	case !f.applied:
		return fmt.Errorf("opening TCP port %d: %w", port, ErrNotApplied)
	case slices.Contains(f.open, port):
		return nil
	case port == 0 || len(f.open) >= maxPorts:
		return fmt.Errorf("opening TCP port %d: %w: ports are 1..65535 and at most %d are open, now %v", port, ErrPort, maxPorts, f.open)
	}
	conn, err := f.dial()
	if err != nil {
		return fmt.Errorf("connecting to nf_tables: %w", err)
	}
	conn.AddRule(portRule(port).in(&nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}))
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("opening TCP port %d: %w", port, err)
	}
	f.open = append(f.open, port)
	return nil
}

// chain is a base chain and what happens to a packet that no rule of it accepts.
type chain struct {
	name   string
	hook   *nftables.ChainHook
	policy nftables.ChainPolicy
}

func chains() []chain {
	return []chain{
		{ChainInput, nftables.ChainHookInput, nftables.ChainPolicyDrop},
		{ChainForward, nftables.ChainHookForward, nftables.ChainPolicyDrop},
		{ChainOutput, nftables.ChainHookOutput, nftables.ChainPolicyAccept},
	}
}

func (c chain) in(t *nftables.Table) *nftables.Chain {
	return &nftables.Chain{
		Table: t, Name: c.name, Type: nftables.ChainTypeFilter,
		Hooknum: c.hook, Priority: nftables.ChainPriorityFilter, Policy: &c.policy,
	}
}

// Rule is one accepting rule of the input chain.
type Rule struct {
	// Text is the rule as nft(8) writes it.
	Text string
	// match is what must hold before the packet is accepted.
	match []expr.Any
}

func (r Rule) in(t *nftables.Table) *nftables.Rule {
	return &nftables.Rule{
		Table: t, Chain: &nftables.Chain{Name: ChainInput, Table: t},
		Exprs: append(slices.Clone(r.match), &expr.Verdict{Kind: expr.VerdictAccept}),
	}
}
