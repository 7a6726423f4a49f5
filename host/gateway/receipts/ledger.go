package receipts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"cocoon/contracts/receipt"
)

const (
	// maxNeighbours is how many entries of a channel's ledger are remembered to compare the next with, maxChannels how many
	// channels.
	maxNeighbours, maxChannels = 256, 1024
	// maxBooks bounds the keysets of one channel.
	maxBooks = 8
)

// Classes of this package, beside those of contracts/receipt (inference.md section 10.5, "across receipts of one channel").
const (
	// Overcharged is a ledger whose total rose by more than was billed, or a proxy that asks for more than its receipts say.
	Overcharged receipt.Class = "overcharged"
	// LedgerBroken is a ledger that repeats a number or falls.
	LedgerBroken receipt.Class = "ledger_inconsistent"
)

// channel is the ledger of one payment channel as receipts show it.
type channel struct {
	// books are the entries by their number, for every keyset that signs: keysets overlap when they change.
	books map[string][]entry
	// newest is the entry that came last at the end of its book, unsettled how many requests have ended since without a
	// receipt.
	newest    entry
	unsettled int
}

// entry is where a channel's ledger stood.
type entry struct {
	seq           int64
	total, billed uint64
}

func channelKey(clientSC, proxySC string) string { return clientSC + " " + proxySC }

// follow compares a receipt with its neighbours in the channel's ledger: the total rises by what was billed. A proxy that
// begins with new keys begins anew here; what it then asks to be paid is compared with its receipts again.
func (c *Checker) follow(r *receipt.Receipt) error {
	e := entry{r.Channel.LedgerSeq, r.Channel.Total, uint64(max(r.Usage.Total(), 0))}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enter(channelKey(r.Channel.ClientSC, r.Channel.ProxySC), r.KeysetDigest, e)
}

// enter puts an entry into its place. Callers hold the lock.
func (c *Checker) enter(key, keyset string, e entry) error {
	l := c.ledger[key]
	if l == nil {
		if len(c.ledger) >= maxChannels {
			clear(c.ledger)
		}
		l = &channel{books: make(map[string][]entry)}
		c.ledger[key] = l
	}
	list := l.books[keyset]
	at, twice := slices.BinarySearchFunc(list, e.seq, func(e entry, seq int64) int { return cmp.Compare(e.seq, seq) })
	if twice {
		return &receipt.BrokenError{Class: LedgerBroken, Why: fmt.Sprintf("entry %d of the channel's ledger was seen before", e.seq)}
	}
	if at > 0 {
		if err := step(list[at-1], e); err != nil {
			return err
		}
	}
	if at < len(list) {
		if err := step(e, list[at]); err != nil {
			return err
		}
	} else {
		l.newest, l.unsettled = e, 0 // what had no receipt is in this total
	}
	list = slices.Insert(list, at, e)
	if len(l.books) >= maxBooks && l.books[keyset] == nil {
		clear(l.books)
	}
	l.books[keyset] = list[max(len(list)-maxNeighbours, 0):]
	return nil
}

func step(before, after entry) error {
	switch rise := after.total - before.total; {
	case after.total < before.total || rise < after.billed:
		return &receipt.BrokenError{Class: LedgerBroken, Why: fmt.Sprintf(
			"the ledger's total goes from %d at entry %d to %d at entry %d, which billed %d", before.total, before.seq, after.total, after.seq, after.billed)}
	case before.seq+1 == after.seq && rise > after.billed:
		return &receipt.BrokenError{Class: Overcharged, Why: fmt.Sprintf(
			"the ledger's total rose by %d at entry %d, which billed %d", rise, after.seq, after.billed)}
	}
	return nil
}

// Unsettled notes that a request ended and no receipt came for it: until the next one, the proxy may ask for more than the
// last one said.
func (c *Checker) Unsettled(clientSC, proxySC string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.ledger[channelKey(clientSC, proxySC)]; l != nil {
		l.unsettled++
	}
}

// Asked compares what a proxy says that a channel has used with the last receipt's total. It must only be called while
// nothing is in flight on the channel. An error is a *receipt.BrokenError of class Overcharged.
func (c *Checker) Asked(clientSC, proxySC string, tokens int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.ledger[channelKey(clientSC, proxySC)]
	if l == nil || l.unsettled > 0 {
		return nil
	}
	if last := l.newest; tokens > 0 && uint64(tokens) > last.total {
		return &receipt.BrokenError{Class: Overcharged, Why: fmt.Sprintf(
			"the proxy says that the channel has used %d tokens, and the last receipt, entry %d of its ledger, says %d", tokens, last.seq, last.total)}
	}
	return nil
}

// Recall takes a record of an earlier run into account, so that the ledger goes on where it stood. Records that are not
// good say nothing. Call it with the oldest first.
func (c *Checker) Recall(r Record) {
	if !r.OK() {
		return
	}
	var doc struct {
		Keyset string `json:"workload_keyset_digest"`
		Events []struct {
			Type   string `json:"type"`
			Billed int64  `json:"billed_total"`
			Proxy  string `json:"proxy_sc"`
			Client string `json:"client_sc"`
			Seq    int64  `json:"ledger_seq"`
			Total  string `json:"tokens_total"`
		} `json:"event_log"`
	}
	if json.Unmarshal(r.Receipt, &doc) != nil {
		return
	}
	var e entry
	key := ""
	for _, v := range doc.Events {
		switch v.Type {
		case "usage.metered":
			e.billed = uint64(max(v.Billed, 0))
		case "cocoon.channel":
			total, err := strconv.ParseUint(v.Total, 10, 64)
			if err != nil {
				return
			}
			e.seq, e.total, key = v.Seq, total, channelKey(v.Client, v.Proxy)
		}
	}
	if key == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.enter(key, doc.Keyset, e) // it was judged when it came
}
