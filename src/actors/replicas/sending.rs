//! The task that writes what the hub says to the others.
//!
//! It is there so that the actor's thread encodes nothing. Easy to get wrong: what it has taken when the layer ends is
//! still sent, for the last word of a replica is that it goes.
use super::link::Mesh;
use super::wire::Message;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Send what is mailed until `stop`, and then what waits.
pub(in crate::actors) async fn send(mesh: Arc<Mesh>, stop: CancellationToken) {
    let Some(mut mail) = mesh.take_mail() else { return };
    while let Some(Some(one)) = stop.run_until_cancelled(mail.recv()).await {
        mesh.relay.publish(one.channel, Message::encode(&one.message, &one.frame));
    }
    while let Ok(one) = mail.try_recv() {
        mesh.relay.publish(one.channel, Message::encode(&one.message, &one.frame));
    }
}
