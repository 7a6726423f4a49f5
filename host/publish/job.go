package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
)

// rootValue goes along with an operation on a root (contracts.md section 4: 0.1 to 0.2 TON); the rest comes back.
const rootValue bind.Nano = 2e8

// ErrGovernor: the root's owner is a governor, which takes proposals instead of orders.
var ErrGovernor = errors.New("the root belongs to a governor")

// Job is one publication.
type Job struct {
	Root *address.Address
	// Network that the caller expects; zero expects any.
	Network registry.Network
	Entries []Entry
	// Delete takes the entries from their lists instead of adding them.
	Delete bool
	// Signer acts as the root's owner; nil leaves the messages unsigned. Send delivers them.
	Signer *Signer
	Send   bool
	// Outbox remembers what was sent and not yet seen; needed to send.
	Outbox chain.Outbox
	// Now is the clock.
	Now func() time.Time
}

// Outcome of a job, as far as it came: a refused job keeps what was found out before the refusal.
type Outcome struct {
	Site    *Site
	Before  *registry.Snapshot
	Changes []Change
	Orders  []Order
	// Principal that the orders are for.
	Principal *Principal
	Rehearsal *Rehearsal
	// After is the root as rehearsed.
	After    *registry.Snapshot
	Arrivals []Arrival
	// Valid tells that the root's get methods confirm every change on proven state, as of ValidAt.
	Valid   bool
	ValidAt chain.Block
}

// Run compares, rehearses and, if asked to, sends and waits for the proof. The outcome is not nil once the root was read.
func (j *Job) Run(ctx context.Context, net Network) (*Outcome, error) {
	site, err := Look(ctx, net, j.Now)
	if err != nil {
		return nil, err
	}
	if err := site.Expect(j.Network); err != nil {
		return nil, err
	}
	root, err := site.Root(ctx, j.Root)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Site: site, Before: root}
	if out.Changes, err = Diff(root, j.Entries, !j.Delete); err != nil {
		return out, err
	}
	if out.Principal, err = j.principal(ctx, site, root); err != nil {
		return out, err
	}
	if out.Orders, err = j.orders(out.Changes); err != nil {
		return out, err
	}
	if err := out.rehearse(ctx); err != nil || !j.Send {
		return out, err
	}
	if j.Signer == nil || j.Outbox == nil {
		return out, errors.New("sending needs a key and an outbox")
	}
	if out.Arrivals, err = site.Deliver(ctx, out.Principal, out.Orders, j.Outbox); err != nil {
		return out, err
	}
	return out, out.confirm(ctx)
}

// principal is whoever may change the root.
func (j *Job) principal(ctx context.Context, site *Site, root *registry.Snapshot) (*Principal, error) {
	owner, err := site.Account(ctx, root.Owner)
	if err != nil {
		return nil, err
	}
	if owner.Status == chain.Active {
		if id, ok := code.Recognise(code.Hash(owner.Code.Hash())); ok && id.Contract == "governor" {
			return nil, fmt.Errorf("%w: %s", ErrGovernor, root.Owner)
		}
	}
	if j.Signer == nil {
		return Unsigned(root.Owner), nil
	}
	return site.Principal(ctx, root.Owner, j.Signer)
}

// orders are one message per change.
func (j *Job) orders(changes []Change) ([]Order, error) {
	query := uint64(j.Now().UnixNano()) //nolint:gosec // a number to tell messages apart
	out := make([]Order, len(changes))
	for i, c := range changes {
		body, err := bind.Encode(c.Message(query + uint64(i))) //nolint:gosec // a small index
		if err != nil {
			return nil, err
		}
		out[i] = Order{What: fmt.Sprintf("%s %s hash %x", c.Action(), c.List, c.Hash), To: j.Root, Value: rootValue, Body: body}
	}
	return out, nil
}

// rehearse plays the messages and checks that they change what they should and nothing else.
func (o *Outcome) rehearse(ctx context.Context) error {
	var err error
	if o.Rehearsal, err = o.Site.Rehearse(ctx, o.Principal, o.Orders); err != nil {
		return err
	}
	if err := o.Rehearsal.Err(o.Orders); err != nil {
		return err
	}
	account, err := o.Rehearsal.After(o.Before.Root)
	if err != nil {
		return err
	}
	if o.After, err = registry.Parse(account); err != nil {
		return fmt.Errorf("%w: %w", ErrRehearsal, err)
	}
	want := 0
	for _, l := range registry.Lists() {
		want += len(o.Before.Hashes(l)) - len(o.After.Hashes(l))
	}
	for _, c := range o.Changes {
		if c.Add {
			want++
		} else {
			want--
		}
		if o.After.Has(c.List, c.Hash) != c.Add {
			return fmt.Errorf("%w: afterwards the root would not show: %s %s hash %x", ErrRehearsal, c.Action(), c.List, c.Hash)
		}
	}
	if want != 0 || o.After.Params.ParamsVersion != o.Before.Params.ParamsVersion {
		return fmt.Errorf("%w: it would change more than was asked for", ErrRehearsal)
	}
	return nil
}

// confirm asks the root's get methods on the state that contains the last transaction.
func (o *Outcome) confirm(ctx context.Context) error {
	o.ValidAt = o.Site.Head
	for _, c := range o.Changes {
		valid, err := o.Site.Valid(ctx, o.Before.Root, c.List, c.Hash)
		if err != nil {
			return err
		}
		if valid != c.Add {
			return fmt.Errorf("%w: block %d shows %t for: %s %s hash %x", ErrRefused, o.ValidAt.Seqno, valid, c.Action(), c.List, c.Hash)
		}
	}
	o.Valid = true
	return nil
}
