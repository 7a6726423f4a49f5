package contractstest

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"

	"cocoon/contracts/bind"
)

// Transaction is what a message did to its receiver.
type Transaction struct {
	From, To string // names
	Op       bind.Op
	HasOp    bool
	Value    bind.Nano
	Bounced  bool // the message came back from its receiver

	Parent   int  // index in the log, -1 for what an actor sent
	Received bool // by an actor, who runs nothing
	Refused  bool // an external message that was not accepted
	Skipped  bool // no code ran: too little value, or no contract
	Exit     int  // of the code
	Gas      uint64
	Action   int  // result code of the action phase, 0 when it did not fail
	Aborted  bool // state unchanged
	Fees     bind.Nano
	Out      int // messages sent
}

// OK says that the code ran and all its actions were done.
func (t Transaction) OK() bool { return !t.Aborted && !t.Refused }

// String is one line of a tree.
func (t Transaction) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -> %s", t.From, t.To)
	if t.Bounced {
		b.WriteString(" bounced")
	}
	if t.HasOp {
		fmt.Fprintf(&b, " %s", t.Op)
	}
	fmt.Fprintf(&b, " %s", amount(t.Value))
	switch {
	case t.Received:
	case t.Refused:
		fmt.Fprintf(&b, ": refused, exit %d", t.Exit)
	case t.Skipped:
		fmt.Fprintf(&b, ": not run, fees %s", amount(t.Fees))
	default:
		fmt.Fprintf(&b, ": exit %d, gas %d, fees %s", t.Exit, t.Gas, amount(t.Fees))
		if t.Action != 0 {
			fmt.Fprintf(&b, ", action %d", t.Action)
		}
		if t.Aborted {
			b.WriteString(", aborted")
		}
	}
	return b.String()
}

func amount(n bind.Nano) string { return tlb.FromNanoTON(new(big.Int).SetUint64(uint64(n))).String() }

// Tree prints the log: what follows from a message is indented below it.
func (c *Chain) Tree() string {
	children := map[int][]int{}
	for i, t := range c.Log {
		children[t.Parent] = append(children[t.Parent], i)
	}
	var b strings.Builder
	var walk func(at, depth int)
	walk = func(at, depth int) {
		for _, i := range children[at] {
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", depth), c.Log[i])
			walk(i, depth+1)
		}
	}
	walk(-1, 0)
	return b.String()
}

// Match describes a transaction; fields that are nil or empty match everything.
type Match struct {
	From, To string
	Op       *bind.Op
	Exit     *int
	OK       *bool
}

// String names what is looked for.
func (m Match) String() string {
	part := func(name string, v any, set bool) string {
		if !set {
			return ""
		}
		return fmt.Sprintf(" %s=%v", name, v)
	}
	out := part("from", m.From, m.From != "") + part("to", m.To, m.To != "")
	if m.Op != nil {
		out += part("op", *m.Op, true)
	}
	if m.Exit != nil {
		out += part("exit", *m.Exit, true)
	}
	if m.OK != nil {
		out += part("ok", *m.OK, true)
	}
	return "transaction" + out
}

func (m Match) fits(t Transaction) bool {
	return (m.From == "" || m.From == t.From) && (m.To == "" || m.To == t.To) &&
		(m.Op == nil || (t.HasOp && *m.Op == t.Op)) && (m.Exit == nil || *m.Exit == t.Exit) && (m.OK == nil || *m.OK == t.OK())
}

// Find is the first transaction of the log that matches.
func (c *Chain) Find(m Match) (Transaction, error) {
	for _, t := range c.Log {
		if m.fits(t) {
			return t, nil
		}
	}
	return Transaction{}, fmt.Errorf("finding %s: none in\n%s", m, c.Tree())
}

// record completes a transaction with its message and appends it to the log.
func (c *Chain) record(q queued, t Transaction) int {
	t.Parent = q.parent
	m := q.msg.Message()
	if m.MsgType == tlb.MsgTypeInternal {
		in := m.AsInternal()
		t.From, t.To = c.NameOf(in.SrcAddr), c.NameOf(in.DstAddr)
		t.Value, t.Bounced = bind.Nano(in.Amount.Nano().Uint64()), in.Bounced
		if in.Body != nil && in.Body.BitsSize() >= 32 {
			s, err := in.Body.BeginParse()
			if err == nil {
				op, err := s.LoadUInt(32)
				t.Op, t.HasOp = bind.Op(op), err == nil //nolint:gosec // 32 bits
			}
		}
	} else {
		t.From, t.To = "outside", c.NameOf(m.AsExternalIn().DstAddr)
	}
	c.Log = append(c.Log, t)
	return len(c.Log) - 1
}

// describe takes the phases out of a transaction.
func describe(r *tvm.TransactionExecutionResult, tx *tlb.Transaction) Transaction {
	t := Transaction{Exit: int(r.ExitCode), Gas: uint64(max(0, r.GasUsed)), Fees: bind.Nano(tx.TotalFees.Coins.Nano().Uint64()), Out: len(r.OutMessages)}
	d, ok := tx.Description.(tlb.TransactionDescriptionOrdinary)
	if !ok {
		return t
	}
	t.Aborted = d.Aborted
	if _, ran := d.ComputePhase.Phase.(tlb.ComputePhaseVM); !ran {
		t.Skipped, t.Exit = true, 0
	}
	if d.ActionPhase != nil && !d.ActionPhase.Success {
		t.Action = int(d.ActionPhase.ResultCode)
	}
	return t
}
