package proxy

import "cocoon/guest/proxy/ledger"

// estimate is what a request that is still open on its worker would be billed now: nothing is certain yet.
func (r *request) estimate() ledger.Entry { return ledger.Entry{Reserved: r.reserved} }
