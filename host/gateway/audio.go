package gateway

import (
	"net/http"

	"cocoon/contracts/api"
)

// transcribe answers /v1/audio/transcriptions: a form whose bytes go on unchanged, once its fields were checked.
func (s *Server) transcribe(w http.ResponseWriter, r *http.Request) {
	x, body, err := s.admit(w, r, api.TranscriptionsPath, "multipart/form-data", api.MaxAudio)
	if err != nil {
		s.refuseRequest(w, err)
		return
	}
	form, err := api.ReadForm(r.Header.Get("Content-Type"), body)
	if err != nil {
		s.refuseRequest(w, err)
		return
	}
	x.req, x.body, x.contentType = &form.Request, body, r.Header.Get("Content-Type")
	x.run()
}
