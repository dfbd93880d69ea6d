// Remembers what came while somebody looked elsewhere, since the page was opened. Pure: draws nothing, asks nobody.

const KEPT = 1000;

/** Whom a message calls: those it names, a role of theirs, everyone; in a direct channel, whoever it is written to. */
function calls(message, person) {
  return !message.guild_id || message.mention_everyone || (message.mentions ?? []).some((user) => user.id === person.id)
    || (message.mention_roles ?? []).some((role) => person.roles?.includes(role));
}

/** For each person and channel, the messages that they have not seen. */
export class Unread {
  #heard = [];
  // By person and channel: the newest message that they saw there.
  #seen = new Map();
  #count = 0;

  hear(message) {
    this.#heard.push({ message, number: ++this.#count });
    if (this.#heard.length > KEPT) this.#heard.shift();
  }

  forget(id) {
    this.#heard = this.#heard.filter(({ message }) => message.id !== id);
  }

  /** The person has seen all that is in the channel. */
  see(person, channel) {
    this.#seen.set(`${person.id} ${channel.id}`, this.#count);
  }

  /** `{unseen, mentions}`: is anything new there, and how many of it call the person. */
  of(person, channel) {
    const seen = this.#seen.get(`${person.id} ${channel.id}`) ?? 0;
    const fresh = this.#heard.filter(({ message, number }) => number > seen && message.channel_id === channel.id
      && message.author.id !== person.id && (message.visible_to ?? person.id) === person.id).map(({ message }) => message);
    return { unseen: fresh.length > 0, mentions: fresh.filter((message) => calls(message, person)).length };
  }
}
