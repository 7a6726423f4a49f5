package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
)

// rootValue goes along with an operation on a root (contracts.md section 4: 0.1 to 0.2 TON); the rest comes back.
const rootValue bind.Nano = 2e8

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
	// Governor that owns the root, nil when a wallet does. Then the orders are for the governor, and Proposals are what
	// they became: the root changes when those are approved and executed.
	Governor  *bind.GovernorStorage
	Proposals []bind.Proposal
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
	if err := j.route(ctx, out); err != nil {
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

// route finds who may change the root, and how: a wallet by itself, a governor by proposals.
func (j *Job) route(ctx context.Context, o *Outcome) error {
	var err error
	if o.Governor, err = o.Site.governorOf(ctx, o.Before.Owner); err != nil {
		return err
	}
	if o.Governor != nil {
		return j.govern(ctx, o)
	}
	o.Principal = Unsigned(o.Before.Owner)
	if j.Signer != nil {
		if o.Principal, err = o.Site.Principal(ctx, o.Before.Owner, j.Signer); err != nil {
			return err
		}
	}
	o.Orders, err = j.orders(o.Changes)
	return err
}

// proposes tells that the orders leave the root as it is, until they are approved.
func (o *Outcome) proposes() bool { return o.Governor != nil && len(o.Changes) > 0 && o.Changes[0].Add }

// orders are one message per change.
func (j *Job) orders(changes []Change) ([]Order, error) {
	query := uint64(j.Now().UnixNano())
	out := make([]Order, len(changes))
	for i, c := range changes {
		body, err := bind.Encode(c.Message(query + uint64(i)))
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
	if o.proposes() {
		governor, err := o.Rehearsal.After(o.Before.Owner)
		if err != nil {
			return err
		}
		o.After = o.Before
		return o.proposed(governor)
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
	if o.proposes() {
		governor, err := o.Site.Account(ctx, o.Before.Owner)
		if err != nil {
			return err
		}
		return o.proposed(governor)
	}
	ctx, cancel := context.WithTimeout(ctx, maxArrival)
	defer cancel()
	for _, c := range o.Changes {
		valid, err := o.Site.Valid(ctx, o.Before.Root, c.List, c.Hash)
		for err == nil && valid != c.Add && o.Governor != nil { // the governor's message is still on its way
			if err = errors.Join(o.Site.net.Wait(ctx, o.Site.Head.Seqno), ctx.Err()); err == nil {
				err = o.Site.refresh(ctx)
			}
			if err == nil {
				valid, err = o.Site.Valid(ctx, o.Before.Root, c.List, c.Hash)
			}
		}
		if err != nil {
			return err
		}
		if valid != c.Add {
			return fmt.Errorf("%w: block %d shows %t for: %s %s hash %x", ErrRefused, o.Site.Head.Seqno, valid, c.Action(), c.List, c.Hash)
		}
	}
	o.ValidAt = o.Site.Head
	o.Valid = true
	return nil
}

// Reported tells that an outcome has something to show although the job failed: a rehearsal, or executed orders.
func (o *Outcome) Reported() bool {
	return o != nil && (len(o.Arrivals) > 0 || (o.Rehearsal != nil && len(o.Rehearsal.Steps) > 0))
}
