package worker

import (
	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/meter"
)

// fewHeaders is how many headers of an answer have their place on a desk.
const fewHeaders = 4

// desk is the memory that a request needs while it is served and told of, in one piece. No other request uses it: what
// somebody asked or was answered lies nowhere that somebody else's words are made.
type desk struct {
	// in reads the request's body; edit makes the engine's of it, with limit as its bound of tokens.
	in       jsonscan.Reader
	request  api.Request
	edit     jsonscan.Edit
	limit    [20]byte
	prepared prepared
	meter    meter.Meter

	// What follows are parts of messages. A session keeps none of them, so each is valid until the next one is made.
	response   tl.HTTPResponse
	headers    [fewHeaders]tl.HTTPHeader
	answer     tl.ProxyQueryAnswerEx
	part       tl.ProxyQueryAnswerPartEx
	final      tl.ProxyQueryFinalInfo
	start, end float64 // what final points to
}
