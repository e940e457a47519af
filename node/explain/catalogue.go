package explain

// reaching explains why a cluster cannot be reached.
var reaching = []Entry{
	{
		Unreachable, "no broker could be connected to",
		"Nothing listens at the address, a firewall drops the packets, or the host is down. \"Connection refused\" means that the host answers and no process listens on that port; a timeout means that nothing answers at all.",
		"Start a broker with `weir dev`, or say where yours is with --brokers HOST:PORT, WEIR_BROKERS or a profile. On the broker's machine, look at the line that begins with `ready`: it names the address that is served. A broker that listens on 127.0.0.1 serves its own machine only: set listeners=0.0.0.0:9092 to serve others.", inCLI,
	},
	{
		NameNotFound, "a host name does not resolve",
		"The name in --brokers is misspelt, or it is known in another network only: container and cluster names mean nothing outside.",
		"Check the spelling and ask the system: `getent hosts NAME`. From outside a container network use the published address.", inCLI,
	},
	{
		AdvertisedUnreachable, "the bootstrap address answers, but a broker's advertised address cannot be reached",
		"Clients connect to the address they are given only to ask which brokers there are; then they connect to the addresses that the brokers advertise. What this cluster advertises cannot be reached from here: it is `localhost`, a container's name or a private address, seen from another network.",
		"On the broker, set advertised.listeners (or `weir node --advertise HOST:PORT`) to an address that resolves and is reachable from the clients. Clients in two networks need two listeners, each with its own advertised address; where there is only one, as weir has today, advertise a name that each network resolves in its own way.", inCLI,
	},
	{
		AdvertisedLoopback, "clients on other machines are told to connect to localhost",
		"The broker listens on more than the loopback interface, but advertises a loopback address. Clients elsewhere reach it once, are told to use localhost, and then talk to their own machine.",
		"Set advertised.listeners to the host name or address by which other machines reach this broker.", inLog,
	},
	{
		TLSExpected, "the broker speaks TLS and the client does not",
		"The connection was closed at the first request, or was answered with a TLS alert: the listener wants a TLS handshake first.",
		"Add --tls (and --ca FILE for a certificate of your own authority), or connect to the plain listener.", inCLI,
	},
	{
		TLSUnexpected, "the client speaks TLS and the broker does not",
		"The answer to the TLS handshake was not TLS: the listener is a plain one.",
		"Leave out --tls, or connect to the broker's TLS listener.", inCLI,
	},
	{
		Untrusted, "the broker's certificate is not signed by an authority that is trusted here",
		"The broker has a certificate of its own making, or one of a private authority.",
		"Give the certificate, or that of the authority, with --ca FILE. `weir dev` prints where its own is.", inCLI,
	},
	{
		CertificateName, "the broker's certificate is for another name",
		"The name in --brokers, or the one that the broker advertises, is not among the names in its certificate.",
		"Connect by a name that the certificate has, or issue a certificate that has this one.", inCLI,
	},
	{
		CertificateExpired, "the broker's certificate is not valid now",
		"It has expired, is not valid yet, or the clock of one of the two machines is wrong.",
		"Compare the clocks, then renew the certificate.", inBoth,
	},
	{
		NotKafka, "what answers there is not a Kafka broker",
		"The port belongs to another program: an HTTP server, weir's own health and metrics port (9644), a database.",
		"Use the port of Kafka's protocol: weir prints it as kafka= in its `ready` line.", inCLI,
	},
	{
		TimedOut, "time was up before the broker could be made to answer",
		"The broker is overloaded, recovering or frozen, partitions have no leader, or the network loses packets.",
		"Look at the broker's log and at /readyz; allow more time with --timeout. Whatever changes something may have happened all the same: look before you repeat it.", inCLI,
	},
	{
		ConnectionLost, "the connection was lost",
		"The broker was stopped or closed the connection, or the network broke.",
		"Try again; if it comes back, the broker's log names this client and says why it was closed.", inCLI,
	},
}

// clustering explains what is wrong with a cluster, and with how its nodes are managed.
var clustering = []Entry{
	{
		NodeDown, "a node is not counted on",
		"The controller has not heard it for broker.session.timeout.ms: it was stopped, crashed, hangs, or is cut off from the controller. Or it has just been started and is catching up.",
		"Look at the node's log, and start it if it does not run. What it led is led by others; its replicas catch up when it is back. If it is gone for good, `weir node drain N` gives its replicas to others, and `weir node remove N` forgets it.", inCLI,
	},
	{
		NodeNotFound, "there is no such node",
		"The id is misspelt, or the node never registered, or it was removed.",
		"`weir node ls` lists the nodes with their ids.", inCLI,
	},
	{
		UnderReplicated, "a partition has fewer copies in sync than it should have",
		"A node with one of its replicas is down or slow, or a replica has just been added and is catching up.",
		"`weir topic describe NAME` says which replica is behind and why. It mends itself once the node is back and has caught up; until then another failure costs availability, or, if only one copy is left, data.", inCLI,
	},
	{
		QuorumAtRisk, "a voter of the metadata quorum is missing or far behind",
		"A majority of the voters must run for topics, leaders or members to change. With one voter less, fewer failures are survived.",
		"Start the voter; `weir cluster quorum` shows how far each is. A voter whose disk was lost is replaced by starting its node on an empty disk.", inCLI,
	},
	{
		NoController, "the cluster has no controller that answers",
		"A majority of the voters does not run or cannot reach each other, or an election is under way, which takes a second.",
		"Start the voters of controller.quorum.voters that are down. Without a majority of them leaders stop serving, too, after some seconds: another could lead by then.", inBoth,
	},
	{
		NotDrained, "the node still holds replicas",
		"Removing it now would leave partitions with fewer copies than they should have.",
		"`weir node drain N` moves them to other nodes, and can be interrupted and started again.", inCLI,
	},
	{
		NodeRunning, "the node is still running",
		"A broker that runs registers again as soon as it is forgotten.",
		"Stop it (SIGTERM), wait until `weir node ls` says that it is down, and try again.", inCLI,
	},
	{
		TooFewNodes, "there are not enough nodes for the copies",
		"A partition has its replicas on different nodes, and fewer nodes run and take new ones than it is to have replicas.",
		"Start the nodes that are down, or add one first. To restart or upgrade a node, `weir node drain N --leaders-only` is enough: it copies nothing. Where a partition that the message names has several replicas it can also have fewer: `weir topic move NAME -p P --replication-factor N`.", inCLI,
	},
}

// refusing explains what brokers refuse.
var refusing = []Entry{
	{
		TopicNotFound, "there is no such topic",
		"The name is misspelt, the topic was deleted, or it has not been created and the broker does not make topics by itself (auto.create.topics.enable).",
		"`weir topic ls` lists what there is, `weir topic create NAME` makes one.", inCLI,
	},
	{
		TopicExists, "a topic of that name exists already",
		"It was created before. After a time-out the first attempt may have been the one that did it.",
		"Go on with the topic that exists (--if-not-exists), or choose another name.", inCLI,
	},
	{
		PartitionNotFound, "the topic has no such partition",
		"Partitions are numbered from 0.",
		"`weir topic describe NAME` lists them; `weir topic add-partitions` adds some.", inCLI,
	},
	{
		NoLeader, "the partition has no leader now",
		"Its brokers are down, an election is under way, or its data is damaged and it is offline.",
		"`weir topic describe NAME` shows which partitions are concerned; the brokers' logs say why.", inCLI,
	},
	{
		NotEnoughReplicas, "fewer replicas are in sync than min.insync.replicas asks for",
		"Brokers are down or have fallen behind, so a write could not be made as safe as was asked.",
		"Bring the missing brokers back. `weir topic describe NAME` shows who is in sync.", inCLI,
	},
	{
		RecordTooLarge, "a record is larger than is allowed",
		"The limit is max.message.bytes of the topic, or message.max.bytes of the broker; the client has one of its own (--max-request-bytes).",
		"Send smaller records, compress them (--compression zstd), or raise the limit: `weir config set topic NAME max.message.bytes=N`, and --max-request-bytes here.", inCLI,
	},
	{
		OffsetOutOfRange, "the offset is not in the log",
		"Retention or a deletion removed the records, or the offset is past the end.",
		"`weir topic describe NAME` shows where partitions begin and end; `weir group seek` moves a group.", inCLI,
	},
	{
		InvalidConfig, "a setting is unknown or its value is not allowed",
		"A misspelt name, a value out of range, or one that cannot be changed at run time.",
		"Correct what the message names; `weir config ls topic NAME` and `weir config ls broker` list every name with its value and where that comes from.", inCLI,
	},
	{
		GroupNotFound, "there is no such consumer group",
		"The name is misspelt, or the group was deleted, or has expired with its last commit.",
		"`weir group ls` lists what there is.", inCLI,
	},
	{
		GroupNotEmpty, "the group has members",
		"Offsets of a group whose members are running cannot be moved, and it cannot be deleted: the members would commit over it.",
		"Stop the group's consumers, wait until `weir group describe NAME` says Empty (a crashed member counts until its session ends), and try again.", inCLI,
	},
	{
		GroupRebalancing, "the group is dividing its partitions anew",
		"A member joined, left, or did not poll in time.",
		"Wait a moment and try again. If it never ends, `weir group why NAME` says which member holds it up.", inCLI,
	},
	{
		MemberFenced, "the group goes on without this member",
		"It was silent for longer than its session, or another member took its instance id. Its partitions have other owners, so its commit is refused.",
		"Start it again. Raise session.timeout.ms if pauses are normal; give every instance its own group.instance.id.", inCLI,
	},
	{
		NotAuthorized, "this user may not do that",
		"No ACL allows it.",
		"Ask whoever manages the ACLs for the operation and resource that the message names.", inCLI,
	},
	{
		NotAuthenticated, "the broker does not accept who we say we are",
		"The user does not exist, the password is wrong, or the listener wants another mechanism.",
		"Check user, password and mechanism.", inCLI,
	},
	{
		Unsupported, "the broker does not know this request",
		"It is older than the feature, a different product, or the feature is switched off.",
		"Upgrade the broker, or do without.", inCLI,
	},
	{
		Throttled, "a quota is used up",
		"The user or the client id does more than its quota allows.",
		"Wait, do less, or raise the quota.", inCLI,
	},
	{
		Storage, "the broker cannot write or read the partition's data",
		"Its disk is full, failing, or the partition's data is damaged.",
		"Look at the broker's log for disk-full, disk-failed or data-damaged.", inCLI,
	},
	{
		Refused, "the broker refused the request",
		"The message has the Kafka error and the broker's own words.",
		"Correct what the broker names. `weir errors NAME` explains each of Kafka's errors.", inCLI,
	},
	{
		SequenceRefused, "an idempotent producer's batch does not follow the one before",
		"Batches of the producer were lost between client and broker, or it is an old instance that came back.",
		"Correct clients recover by themselves: nothing to do if it is rare. If one client causes many, it numbers its batches wrongly: upgrade it.", inBoth,
	},
	{
		MalformedAnswer, "a broker's answer does not follow the protocol",
		"A proxy in between changes bytes, the network or memory is faulty, or it is a bug in the broker or here.",
		"Connect directly to see whether a proxy is at fault; then please report it with the versions of both.", inCLI,
	},
	{
		CompressionUnusable, "the compression cannot be used here",
		"The broker, or the topic's compression.type, does not know the codec that the batch is packed with.",
		"Choose another with --compression.", inCLI,
	},
}

// commanding explains what goes wrong in the command line itself.
var commanding = []Entry{
	{
		Usage, "the command was called wrongly",
		"An unknown command or flag, a missing argument, or a value that means nothing there.",
		"`weir COMMAND --help` shows what there is, with examples.", inCLI,
	},
	{
		Failed, "it failed for a reason that has no code of its own",
		"The message is the operating system's, or that of a library.",
		"Take the message at its word; if it makes no sense, please report it.", inCLI,
	},
	{
		Configuration, "the node's configuration cannot be used",
		"A property is unknown, misspelt, out of range, or contradicts another.",
		"`weir node --help` lists every property with its range and default.", inCLI,
	},
	{
		InputMalformed, "the input does not have the form that was said",
		"A line is not the JSON, base64 or hexadecimal that --format announced, or a file of offsets has a bad line.",
		"Correct the line that the message names. What was read before it has been sent.", inCLI,
	},
	{
		OutputFailed, "the output cannot be written",
		"The disk of the output file is full, or the program that reads the pipe has ended.",
		"Look at where the output goes. With --group nothing is committed that was not written.", inCLI,
	},
	{
		TooFewRecords, "time was up before the records had come that were asked for",
		"Fewer records than --count were there when --timeout was over, or fewer than --at-least at the end.",
		"Wait longer, or ask for fewer. `weir topic describe NAME` shows how many there are.", inCLI,
	},
	{
		NotDelivered, "some records were not written",
		"The message says how many, and why the first was not.",
		"Send them again. --report lists each record with its outcome, so that a script can repeat just the failed ones.", inCLI,
	},
	{
		ProfileNotFound, "there is no such profile",
		"The name is misspelt, or the profile was deleted, or WEIR_PROFILE names one of another machine.",
		"`weir profile ls` lists what there is, `weir profile create NAME` makes one.", inCLI,
	},
	{
		ProfileInvalid, "the file of profiles cannot be used",
		"It was edited and is not the JSON that it should be, or has a setting that is not known.",
		"Correct the place that the message names, or remove the file; `weir profile ls` says where it is.", inCLI,
	},
	{
		NotConfirmed, "nothing was changed, because it was not confirmed",
		"Commands that destroy data ask first at a terminal, and the answer was not yes.",
		"Type yes, or give --yes. Scripts, which have no terminal, are not asked.", inCLI,
	},
	{
		RecordDamaged, "a record cannot be read",
		"Its batch does not match its checksum, cannot be inflated, or does not follow the format.",
		"`weir log verify` on the broker's data finds what is damaged; --offset starts behind it.", inCLI,
	},
}

// simulating explains what the simulator reports.
var simulating = []Entry{
	{
		Violation, "a simulated run broke a promise",
		"A bug in weir, or in the simulator. The run is its seed: the same seed and the same binary fail in the same way.",
		"`weir sim run --seed N --trace FILE` shows what happened; `weir sim plan` prints the plan, to make it smaller by hand. Please report the seed and the version.", inCLI,
	},
	{
		Vacuous, "a simulated run proved nothing",
		"A fault that was planned never came, or no operation of the workload succeeded.",
		"Give the run more time or another seed. A plan edited by hand may ask for what cannot happen.", inCLI,
	},
	{
		Fleet, "a fleet of simulations did not run to its end",
		"It was interrupted, or a seed could not be started at all. What did run is summed up.",
		"Start it again for the seeds that are missing.", inCLI,
	},
}

// running explains what goes wrong with a node and its data.
var running = []Entry{
	{
		AddressInUse, "the address is taken",
		"Another process listens there: often another broker that still runs.",
		"Stop it, or choose other addresses with --listen and --http; port 0 takes a free one.", inCLI,
	},
	{
		DataInUse, "the data directory is in use",
		"Another weir process has it open.",
		"Stop the other process, or choose another directory with --data.", inCLI,
	},
	{
		WrongData, "the data directory belongs to another node or cluster",
		"It holds the data of a node with another id or cluster id, or of a newer version.",
		"Give the directory of this node, or an empty one.", inCLI,
	},
	{
		DiskFull, "the disk of the data directory is full",
		"Retention keeps more than the disk holds, or something else fills it.",
		"Producers are refused while reading and deleting go on, and writes resume by themselves when there is room. Shorten retention (`weir config set topic NAME retention.ms=...`), delete records or topics, or free space on the disk.", inBoth,
	},
	{
		DiskFailed, "the disk failed, and the node stopped",
		"A write or a sync to the disk returned an error. After that nobody can know what is on it, so the node acknowledges nothing more and ends.",
		"Look at the system's log for errors of the disk, replace it, then start again. Everything acknowledged before is on the disk.", inBoth,
	},
	{
		DataDamaged, "data that was written safely has changed on the disk",
		"The disk, its controller or memory is faulty, or something wrote into the data directory. Weir never cuts data to make it fit. Of a partition with other replicas, one of which has everything, this one is dropped and filled anew from there; any other is offline.",
		"Look after the disk even if the replica healed. `weir topic describe` says what a partition that is offline waits for: start the nodes that have its other replicas. If there are none: `weir log verify DIR` names the file and the position; mend the disk, then restore the whole directory from a backup; or save what can be read with `weir log dump --records`, delete the topic and write it anew. A file put back alone is not taken: the partition stays offline.", inLog,
	},
	{
		NodeDamaged, "what the node needs of its data directory is damaged, and it does not start",
		"Whose directory it is, the journal, both checkpoints, or what the node has voted is not what was written, or is gone. Without it the node could go back on what it has promised. Nothing was removed.",
		"`weir log verify DIR` names the files. If most of the cluster's voters run: move the data directory away and start the node with an empty one, with the same node.id and cluster.id. It votes again, and its replicas are filled from others; what it alone had is gone. Otherwise, and for a node by itself: restore the whole directory from a backup.", inCLI,
	},
	{
		ShutdownForced, "the shutdown did not wait for requests any longer",
		"Requests were still under way when the grace for a clean shutdown ended. Nothing acknowledged is lost.",
		"Nothing to do. If it happens at every stop, clients send faster than the disk writes.", inLog,
	},
	{
		AcceptFailed, "a connection could not be accepted",
		"Most often the process has no file descriptors left.",
		"Raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower max.connections.", inLog,
	},
	{
		FewDescriptors, "max.connections was lowered: the process may not open so many files",
		"Every connection on TCP takes a file descriptor, and so does every open segment. Clients must not take those that storage needs.",
		"Raise the limit (ulimit -n, LimitNOFILE= of systemd), or lower max.connections or open.files.max.", inLog,
	},
	{
		QUICBuffers, "QUIC will be slower under load",
		"The system limits the buffers of UDP sockets.",
		"sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000", inLog,
	},
	{
		HTTPFailed, "the listener of health and metrics ended",
		"The operating system closed it.",
		"Kafka's protocol goes on being served; restart the node to have health and metrics back.", inLog,
	},
}

// abusing explains what clients do wrong, as the broker's log says it.
var abusing = []Entry{
	{
		MalformedRequest, "a request does not follow the protocol",
		"A bug in the client, a proxy that changes bytes, or not a Kafka client at all. The connection is closed; others are not concerned.",
		"The line names the client's address and software: upgrade it, or look what connects from there.", inLog,
	},
	{
		RequestTooLarge, "a request is larger than socket.request.max.bytes",
		"A producer with very large batches, or bytes that are not Kafka's protocol read as a length.",
		"Lower the client's max.request.size, or raise socket.request.max.bytes.", inLog,
	},
	{
		UnknownRequest, "a client asked for something that this broker does not know",
		"The client is newer than the broker, or did not ask which versions there are.",
		"Usually harmless: good clients do without. If the client cannot work, use a version of it that asks (ApiVersions).", inLog,
	},
	{
		WrongProtocolTLS, "a client speaks TLS on a plain listener",
		"The client is set to SSL or SASL_SSL, and the port is a plain one.",
		"Set the client's security.protocol to PLAINTEXT, or give it the TLS listener's port.", inLog,
	},
	{
		WrongProtocolHTTP, "a client speaks HTTP on the port of Kafka's protocol",
		"A browser, a health check or a metrics scraper has the wrong port.",
		"Health and metrics are on http.listener, port 9644 by default: /healthz, /readyz, /metrics.", inLog,
	},
	{
		WrongProtocolOther, "a client does not speak Kafka's protocol",
		"A port scanner, a load balancer's probe, or a program with the wrong address.",
		"Look what runs at the address in the line. A TCP probe that connects and closes is fine and is not logged like this.", inLog,
	},
	{
		TooManyConnections, "a connection was refused: the limit is reached",
		"max.connections, or max.connections.per.ip, are open. Often one program opens a client per request and does not close it.",
		"The metrics say how many are open; raise max.connections, or mend the program that keeps opening them.", inLog,
	},
	{
		SlowReader, "a connection was closed: its client does not read its answers",
		"The client hangs, or its network is stuck.",
		"Look at the client at the address in the line.", inLog,
	},
	{
		UnfinishedRequest, "a connection was closed: its client began a request and did not finish it",
		"The client hangs, its network is stuck, or what it sent was not Kafka's protocol and looked like a long request.",
		"Look at the client at the address in the line.", inLog,
	},
	{
		IdleConnection, "a connection was closed: nothing was heard of its client",
		"It was silent for connections.max.idle.ms.",
		"Nothing to do: clients connect again when they need to.", inLog,
	},
	{
		ClientsNeverReturned, "clients asked for the cluster's addresses and never came back",
		"They reached this broker once, were told its advertised address, and could not reach that.",
		"Set advertised.listeners to an address that these clients can reach. The line names both.", inLog,
	},
	{
		WrongProtocolPlain, "a client speaks without TLS on a TLS listener",
		"The client is set to PLAINTEXT or SASL_PLAINTEXT, and the port is a TLS one.",
		"Set the client's security.protocol to SSL, or give it a plain listener's port.", inLog,
	},
	{
		TLSHandshakeFailed, "a connection was closed: its TLS handshake failed",
		"The client does not trust the certificate, wants a name that it does not have, speaks no TLS version from 1.2 on, or did not finish within ten seconds.",
		"Give the client the certificate's authority (ssl.truststore.location), and connect to a name that the certificate has.", inLog,
	},
	{
		ConnectionRate, "connections wait or are refused: they come faster than is allowed",
		"Clients reconnect in a loop, or a program opens a connection per message. TCP connections are accepted late; QUIC ones are refused and may try again. Connections that are open are not concerned.",
		"Find what reconnects: the log says who comes and goes. For a fleet that starts at once, raise max.connection.creation.rate.", inLog,
	},
	{
		StalledConnection, "a connection was closed: it held memory without moving while others waited for memory",
		"Its client neither finishes its request nor reads its responses, and requests of others have waited for queued.stall.timeout.ms.",
		"Look at the client at the address in the line. If it is only slow, raise queued.max.request.bytes and queued.max.response.bytes.", inLog,
	},
	{
		RefusedUnanswered, "a connection was closed: a batch sent with acks=0 was refused",
		"The producer asked not to be told of the outcome, so closing the connection is the only way to tell it. The line says which partition, and why.",
		"Mend what the line names, or let the producer ask for acknowledgements: with acks=0 it loses records without knowing.", inLog,
	},
	{
		ConnectionDefect, "a connection was closed: weir failed on what it sent",
		"A defect of weir. Nothing that was acknowledged is concerned; the other connections go on.",
		"Please report the whole line.", inLog,
	},
	{
		WrongNode, "at the address of another node of the cluster is somebody else",
		"Two nodes have the same node.id or the same advertised address, the address now belongs to another cluster, or a data directory of another cluster was put in place. Nothing was sent there but a greeting.",
		"The line says who answers. Give each node its own node.id and advertised.listeners, and each its own data directory.", inLog,
	},
	{
		NotReady, "the node runs, and serves no clients yet",
		"It is not part of its cluster yet: the other voters are not reached, there is no controller, or the controller does not take it in. The line says for what it waits, and so does /readyz. A new cluster needs all of its voters once; after that, a majority is enough.",
		"Start the other nodes. If they run: the same cluster.id and the same controller.quorum.voters on every node, each its own node.id and data directory, nodes.listener at the address that the others have for it, the same nodes.transport, and over QUIC and TLS certificates that the others trust (ssl.truststore.location).", inLog,
	},
}
