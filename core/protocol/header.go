package protocol

import (
	"encoding/binary"
	"math"
)

// RequestHeaderVersion is the version of the header before a request: 2 if the request is flexible, else 1.
// For keys we do not know it is 1, for versions above ours it follows the newest we know, so that a
// refusal can still name the correlation id.
func RequestHeaderVersion(k Key, version int16) int16 {
	switch {
	case k == KeyControlledShutdown && version == 0:
		return 0 // the one request without a client id
	case version >= FlexibleFrom(k):
		return 2
	}
	return 1
}

// ResponseHeaderVersion is the version of the header before a response: 1 if the response is flexible,
// else 0. ApiVersions is always 0, because the client does not know yet which versions we speak (KIP-511).
func ResponseHeaderVersion(k Key, version int16) int16 {
	if k != KeyAPIVersions && version >= FlexibleFrom(k) {
		return 1
	}
	return 0
}

// ReadRequestHeader reads the header at the start of a request frame into h; a client id equal to the one h
// holds costs no allocation. On a malformed header the error sticks to r, and h holds what came before it.
func ReadRequestHeader(r *Reader, h *RequestHeader) {
	if len(r.rest) < 4 {
		h.Default()
		r.fail(ErrTruncated)
		return
	}
	k, v := Key(binary.BigEndian.Uint16(r.rest)), int16(binary.BigEndian.Uint16(r.rest[2:]))
	h.Decode(r, RequestHeaderVersion(k, v))
}

// AppendRequestHeader writes h in the version that its request needs.
func AppendRequestHeader(w *Writer, h *RequestHeader) {
	h.Encode(w, RequestHeaderVersion(h.Key, h.Version))
}

// ReadResponseHeader reads the header at the start of a response frame and gives its correlation id.
func ReadResponseHeader(r *Reader, k Key, version int16) (correlationID int32) {
	var h ResponseHeader
	h.Decode(r, ResponseHeaderVersion(k, version))
	return h.CorrelationID
}

// BeginRequest opens a request frame: its length prefix and header. The body and EndFrame follow.
func (w *Writer) BeginRequest(h *RequestHeader) {
	w.beginFrame()
	AppendRequestHeader(w, h)
}

// BeginResponse opens a response frame: its length prefix and header. The body and EndFrame follow.
func (w *Writer) BeginResponse(correlationID int32, k Key, version int16) {
	w.beginFrame()
	h := ResponseHeader{CorrelationID: correlationID}
	h.Encode(w, ResponseHeaderVersion(k, version))
}

func (w *Writer) beginFrame() {
	w.frame, w.frameSpliced = len(w.buf), w.splicedBytes
	w.int32(0)
}

// EndFrame closes the frame that was begun last by setting its length prefix.
func (w *Writer) EndFrame() {
	size := len(w.buf) - w.frame - 4 + w.splicedBytes - w.frameSpliced
	if size > math.MaxInt32 {
		w.fail("frame", ErrLength.Error())
		return
	}
	binary.BigEndian.PutUint32(w.buf[w.frame:], uint32(size))
}
