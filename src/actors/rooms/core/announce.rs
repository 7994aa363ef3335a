//! What the server itself says to a room, without being a member.
use super::{Core, broadcast};
use crate::actors::rooms::messages::Announce;
use crate::actors::sockets::commands::Outgoing;

impl Core {
    /// The server says something to whoever is in the room now.
    pub fn tell_room(&mut self, said: Announce) {
        let Announce { project, frame } = said;
        if let Some(room) = self.rooms.get_mut(&project) {
            broadcast(room, &mut self.out, project, &Outgoing::Ready(frame), None);
        }
    }
}
