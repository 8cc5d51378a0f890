//! The authority node's way to the vault's segments.

use super::Client;
use super::peer::Peer;
use super::vault::refusal;
use crate::refusal::Refusal;
use crate::renewal::{
    DropRequest, Dropped, RecipientsTaken, SegmentAnswer, SegmentPage, SegmentQuestion, SegmentsLink,
};

impl SegmentsLink for Client {
    fn segments(&self, question: &SegmentQuestion) -> Result<SegmentPage, Refusal> {
        self.post_json("/v1/segments", question).map_err(|error| refusal(&error))
    }

    fn recipients(&self, done: &SegmentAnswer) -> Result<RecipientsTaken, Refusal> {
        self.post_json("/v1/segments/recipients", done).map_err(|error| refusal(&error))
    }

    fn drop_recipients(&self, request: &DropRequest) -> Result<Dropped, Refusal> {
        self.post_json("/v1/segments/drop", request).map_err(|error| refusal(&error))
    }
}

impl SegmentsLink for Peer {
    fn segments(&self, question: &SegmentQuestion) -> Result<SegmentPage, Refusal> {
        self.client().segments(question)
    }

    fn recipients(&self, done: &SegmentAnswer) -> Result<RecipientsTaken, Refusal> {
        self.client().recipients(done)
    }

    fn drop_recipients(&self, request: &DropRequest) -> Result<Dropped, Refusal> {
        self.client().drop_recipients(request)
    }
}
