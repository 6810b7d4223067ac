//! What changes and ends a running server, from a signal handler, a socket or a test.

use std::io;
use std::net::TcpListener;

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot};

use super::status::Status;
use crate::address::Ban;
use crate::connection::Closing;
use crate::problem::{Fault, Problem};

/// Changes and ends a running server.
#[derive(Clone, Debug)]
pub struct Control {
    closing: Closing,
    orders: mpsc::Sender<Order>,
}

/// What a running server is asked for.
#[derive(Debug)]
pub(super) enum Order {
    Reload(Answer<Reloaded>),
    Status(Answer<Status>),
    Ban(IpNet, Ban, Answer<Result<(), Problem>>),
    Lift(IpNet, Answer<Result<(), Problem>>),
    Sockets(Answer<io::Result<Lent>>),
}

/// Handles of every listening socket of a server, for another process.
#[derive(Debug, Default)]
pub struct Lent {
    /// The handles.
    pub sockets: Vec<TcpListener>,
    /// How long they are lent.
    pub loan: Loan,
}

/// For as long as this is held, the server leaves the kernel's filters on its listening sockets to the other
/// process. Should it still serve when this is dropped, it sets its own ones again.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "that it is held is all it says")]
pub struct Loan(pub(super) std::sync::Arc<()>);

/// What came of a reload: the warnings of the new state, or why the old one stays.
pub(super) type Reloaded = Result<Vec<Problem>, Vec<Problem>>;

/// Where the outcome of an order goes.
#[derive(Debug)]
pub(super) struct Answer<T>(oneshot::Sender<T>);

impl<T> Answer<T> {
    pub(super) fn give(self, outcome: T) {
        // Whoever asked may have gone.
        drop(self.0.send(outcome));
    }
}

/// The orders of all [`Control`]s.
pub(super) struct Orders(mpsc::Receiver<Order>);

impl Orders {
    /// The next order; none ever when nobody is left to give one.
    pub(super) async fn next(&mut self) -> Order {
        match self.0.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }

    /// Takes no more orders.
    pub(super) fn close(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}

pub(super) fn pair() -> (Control, Orders) {
    let (orders, receiver) = mpsc::channel(MOST_ORDERS);
    (Control { closing: Closing::default(), orders }, Orders(receiver))
}

impl Control {
    /// Takes nobody new, and lets sessions finish what was begun.
    pub fn drain(&self) {
        self.retire();
        self.closing.drain.cancel();
    }

    /// Takes nobody new, because a successor does. Whoever is in goes on as before for the time of a drain; then
    /// the server drains.
    pub fn retire(&self) {
        self.closing.retire.cancel();
    }

    /// Ends whatever still runs.
    pub fn cut(&self) {
        self.drain();
        self.closing.cut.cancel();
    }

    /// Reads the configuration and every file it names anew, and answers when the new state is in force,
    /// with its warnings. Every live session is judged again by it, and cut where it no longer passes.
    ///
    /// # Errors
    /// Every problem of the new state, as [`super::check`] tells them; the old state serves on. So it does
    /// where the server is stopping.
    pub async fn reload(&self) -> Result<Vec<Problem>, Vec<Problem>> {
        self.order(Order::Reload).await.unwrap_or_else(|problem| Err(vec![problem]))
    }

    /// The state of the server now.
    ///
    /// # Errors
    /// [`Fault::ServerStopping`] once it has ended.
    pub async fn status(&self) -> Result<Status, Problem> {
        self.order(Order::Status).await
    }

    /// Keeps a network out until `ban` ends, and cuts its sessions. An earlier ban of it is replaced.
    ///
    /// # Errors
    /// [`Fault::AddressTooManyBans`] where as many are banned as may be.
    pub async fn ban(&self, network: IpNet, ban: Ban) -> Result<(), Problem> {
        self.order(|answer| Order::Ban(network, ban, answer)).await?
    }

    /// Ends the ban of exactly this network.
    ///
    /// # Errors
    /// [`Fault::AddressNotBanned`] where there is none.
    pub async fn lift(&self, network: IpNet) -> Result<(), Problem> {
        self.order(|answer| Order::Lift(network, answer)).await?
    }

    /// Another handle of every listening socket, for [`super::Server::succeed`] in another process. The server goes
    /// on listening until it drains.
    ///
    /// # Errors
    /// [`Fault::ServerStopping`] once it has ended, [`Fault::BindFailed`] where the system refuses a handle.
    pub async fn sockets(&self) -> Result<Lent, Problem> {
        self.order(Order::Sockets).await?.map_err(|error| {
            let what = format!("the listening sockets cannot be shared: {error}");
            Problem::error(Fault::BindFailed, what, "raise the limit on open files")
        })
    }

    async fn order<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, Problem> {
        let (answer, outcome) = oneshot::channel();
        self.orders.send(order(Answer(answer))).await.map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())
    }

    pub(super) fn closing(&self) -> &Closing {
        &self.closing
    }
}

pub(super) fn stopping() -> Problem {
    let what = "the server is stopping, and takes no new state";
    Problem::error(Fault::ServerStopping, what, "start it again: it reads its files then")
}

/// Orders wait their turn; more of them than this make the asker wait.
const MOST_ORDERS: usize = 16;
